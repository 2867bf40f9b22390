"""`gedanken evaluate`."""

from argparse import Namespace

from gedanken.cli.data import as_input, as_target, load_test, match_classes
from gedanken.cli.output import show
from gedanken.network import Network


def run(arguments: Namespace) -> int:
    """Show cost and metrics, and return the exit status."""
    net = Network.load(arguments.model, engine=arguments.engine)
    data, labels, classes = load_test(arguments.data, net, arguments.limit, arguments.zero_based)
    target = as_target(net, match_classes(labels, classes, net.class_names))
    found = net.evaluate(as_input(net, data), target, progress=False)
    show(f"evaluation of {len(data):,} samples: {found}")
    return 0
