"""`gedanken compare`."""

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import numpy as np

from gedanken.checks import printable
from gedanken.cli.output import show
from gedanken.cli.runs import figures, of_kind
from gedanken.training.resume import apart
from gedanken.training.run_folder import read_run


def run(arguments: Namespace) -> int:
    """Print what two runs differ in, and return the exit status: 1 where they are not the same."""
    (about, records, costs), (other, others, more) = read_run(arguments.run), read_run(arguments.other)
    lines = [*_inputs(about, other), _course(about["run"], costs, more)]
    for name, listed in ((arguments.run, records), (arguments.other, others)):
        last = of_kind("epoch", listed)[-1:]
        lines += [f"{name}: epoch {one.get('epoch')}  {figures(one)}" for one in last]
    show("\n".join(map(printable, lines)))
    return 0 if costs.tobytes() == more.tobytes() else 1


def _inputs(about: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """Yield what they were made of where that differs."""
    one, two = ({**side["made of"], "last epoch": side["run"].get("last_epoch")} for side in (about, other))
    names = [name for name in dict.fromkeys([*one, *two]) if one.get(name) != two.get(name)]
    if not names:
        yield "made of the same"
    for name in names:
        before, now = apart(one.get(name), two.get(name))
        yield f"{name}: {before} and {now}"


def _course(told: dict[str, Any], costs: Any, more: Any) -> str:
    """Say how far the costs of the steps are the same."""
    shorter = min(len(costs), len(more))
    differ = np.flatnonzero(costs[:shorter].view("<i8") != more[:shorter].view("<i8"))
    if len(differ):
        first, steps = int(differ[0]), told.get("steps")
        place = f"step {first + 1:,}"
        if isinstance(steps, int) and steps > 0:
            place = f"step {first % steps + 1:,} of epoch {(told.get('first_epoch') or 1) + first // steps}"
        return f"the costs part at {place}: {costs[first]:.9g} and {more[first]:.9g}"
    if len(costs) == len(more):
        return f"the costs of all {shorter:,} steps are the same to the bit"
    return f"the costs are the same to the bit for {shorter:,} steps, where one of them ends"
