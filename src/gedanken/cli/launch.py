"""`gedanken launch`."""

from argparse import Namespace

from gedanken.checks import real, require
from gedanken.ranks.launching import hosts_of, launch


def run(arguments: Namespace) -> int:
    """Run a script as several ranks, and return its exit status."""
    hosts = hosts_of(arguments.hosts) if arguments.hosts else []
    count = sum(host.ranks for host in hosts)
    ranks = count if arguments.n is None and hosts else arguments.n
    require(ranks is not None, "-n", "say how many ranks there are, or --hosts where", None)
    require(not hosts or ranks <= count, "-n", f"be at most {count}, the ranks of --hosts", ranks)
    real("--deadline", arguments.deadline, "(0, inf)")
    return launch(ranks, hosts, [arguments.script, *arguments.arguments], arguments.deadline)
