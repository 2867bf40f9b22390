"""`gedanken launch`."""

from argparse import Namespace

from gedanken.checks import require
from gedanken.cli.output import tell
from gedanken.ranks.hosts import hosts_of
from gedanken.ranks.launching import Work, launch


def run(arguments: Namespace) -> int:
    """Run a script as several ranks, and return its exit status."""
    hosts = hosts_of(arguments.hosts) if arguments.hosts else []
    count = sum(host.ranks for host in hosts)
    ranks = count if arguments.n is None and hosts else arguments.n
    require(not (hosts and arguments.ray), "--hosts", "be left out with --ray, which places the ranks", arguments.hosts)
    where = "" if arguments.ray else ", or --hosts where"
    require(ranks is not None, "-n", f"say how many ranks there are{where}", None)
    require(not hosts or ranks <= count, "-n", f"be at most {count}, the ranks of --hosts", ranks)
    script = [arguments.script, *arguments.arguments]
    work = Work(ranks, hosts, script, arguments.deadline, arguments.restarts, arguments.address or "", arguments.ray)
    return launch(work, lambda told: tell("warning", told))
