"""`gedanken summary`."""

from argparse import Namespace
from pathlib import Path

from gedanken.checks import printable_lines
from gedanken.cli.networks import NETWORKS, build, find_design
from gedanken.cli.output import show
from gedanken.costs import MeanSquared
from gedanken.network import Network
from gedanken.optimizers import SGD


def run(arguments: Namespace) -> int:
    """Print the table of a network, and return the exit status."""
    show(printable_lines(str(_network(arguments).summary())))
    return 0


def _network(arguments: Namespace) -> Network:
    network = arguments.network
    path = Path(network)
    if network not in NETWORKS and path.suffix.lower() != ".json" and (path.suffix or path.is_file()):
        return Network.load(network, engine=arguments.engine)
    design = find_design(network)
    net = build(design, arguments.input or (1, 28, 28), arguments.classes, 0)
    return net.regression(SGD(), MeanSquared(), engine=arguments.engine)
