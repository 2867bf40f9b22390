"""`gedanken evaluate`."""

from argparse import Namespace

from gedanken.cli.data import as_input, as_target, load_test, match_classes, read_classes
from gedanken.network import Network


def run(arguments: Namespace) -> int:
    """Show cost and metrics, and return the exit status."""
    net = Network.load(arguments.model, engine=arguments.engine)
    known = read_classes(arguments.model)
    data, labels, classes = load_test(arguments.data, net, arguments.limit)
    net.evaluate(as_input(net, data), as_target(net, match_classes(labels, classes, known)))
    return 0
