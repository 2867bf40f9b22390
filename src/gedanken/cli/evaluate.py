"""`gedanken evaluate`."""

from argparse import Namespace

from gedanken.cli.data import as_input, as_target, load_test, match_classes, read_classes
from gedanken.network import Network


def run(arguments: Namespace) -> int:
    """Show cost and metrics, and return the exit status."""
    net = Network.load(arguments.model, engine=arguments.engine)
    known = read_classes(arguments.model)
    data, labels, classes = load_test(arguments.data, net, arguments.limit)
    target = as_target(net, match_classes(labels, classes, known))
    found = net.evaluate(as_input(net, data), target, progress=False)
    print(f"evaluation of {len(data):,} samples: {found}")
    return 0
