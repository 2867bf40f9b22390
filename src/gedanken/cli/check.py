"""`gedanken check`."""

from argparse import Namespace

from gedanken.checks import printable_lines
from gedanken.cli.output import show
from gedanken.cli.prepare import as_taken, chosen, prepared


def run(arguments: Namespace) -> int:
    """Print what is wrong with network and data, and return the exit status: 1 where it is worse than a note."""
    net, samples = prepared(arguments, *chosen(arguments))
    data, labels, validation = as_taken(net, samples)
    found = net.check(data, labels, validation_set=validation, mini_batch_size=arguments.mini_batch_size)
    show(printable_lines(str(found)))
    return 0 if found.ok else 1
