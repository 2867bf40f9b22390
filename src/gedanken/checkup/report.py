"""What a checkup tells: values alone, and how they are shown."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gedanken.checkup.codes import CODES

ERROR, WARNING, NOTE = SEVERITIES = ("error", "warning", "note")
PAGE = "docs/check.md"
WIDTH = 110  # letters of a line


class Finding(NamedTuple):
    """One thing that was found.

    Args:
        code: its short name, one of `CODES`.
        severity: "error", the network learns nothing useful so; "warning", it will learn worse or slower, or what is
            reported will not be true; "note", worth knowing.
        text: what it is, with the figures, and what to do.
        page: where it is explained.
    """

    code: str
    severity: str
    text: str
    page: str


def finding(code: str, severity: str, text: str) -> Finding:
    """Return a finding with its page."""
    assert code in CODES
    assert severity in SEVERITIES
    return Finding(code, severity, text, f"{PAGE}#{code}")


class LayerFigures(NamedTuple):
    """What was measured of a layer.

    Args:
        path: its place in the network, such as "5" or "5.layers.0".
        layer: its kind.
        gradient_to_weight: length of its weights' gradient over that of the weights, before the first step; None
            without weights, or where all of them are 0.
        update_to_weight: the same of the first step's change.
        dead: share of its units that never fired, in [0, 1]; None but for ReLU.
    """

    path: str
    layer: str
    gradient_to_weight: float | None = None
    update_to_weight: float | None = None
    dead: float | None = None


class Figures(NamedTuple):
    """What was measured; None is what could not be.

    Args:
        looked_at: samples that were looked at.
        samples: of an epoch; of a Generator None.
        validation_looked_at: samples of the validation set that were compared with those trained on.
        mini_batch_size: samples of a step.
        initial_cost: mean cost of the samples before any step.
        expected_initial_cost: cost of a network that knows nothing, see docs/check.md#initial-cost.
        overfitted: samples of the mini-batch that was learnt by heart.
        overfit_steps: steps that were made on it.
        overfit_begin, overfit_cost: its cost before and after them.
        seconds_per_step: of a training step on this machine.
        seconds_per_epoch: of an epoch, without validation and waiting for data.
        step_bytes: memory of a training step, all vectors and buffers included.
        layers: those with weights or ReLU.
    """

    looked_at: int
    samples: int | None
    validation_looked_at: int
    mini_batch_size: int
    initial_cost: float | None = None
    expected_initial_cost: float | None = None
    overfitted: int = 0
    overfit_steps: int = 0
    overfit_begin: float | None = None
    overfit_cost: float | None = None
    seconds_per_step: float | None = None
    seconds_per_epoch: float | None = None
    step_bytes: int | None = None
    layers: tuple[LayerFigures, ...] = ()


class Checkup(NamedTuple):
    """What `Network.check` found. `str` of it is a report, and so is what a terminal or notebook shows of it.

    Args:
        findings: the worst first.
        figures: what was measured.
        left_out: checks that were not made, each with the reason.
    """

    findings: tuple[Finding, ...]
    figures: Figures
    left_out: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is worse than a note."""
        return all(one.severity == NOTE for one in self.findings)

    def __str__(self) -> str:
        lines = [self._verdict()]
        for one in self.findings:
            lines += ["", f"{one.severity}: {one.code}", *_wrapped(f"{one.text} See {one.page}.")]
        lines += ["", *_figure_lines(self.figures)]
        if self.left_out:
            lines += ["", "not checked:", *(line for text in self.left_out for line in _wrapped(text))]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """Return the report for a notebook."""
        import html  # noqa: PLC0415 - for notebooks alone, and it takes as long as ten modules of ours

        return f'<pre style="overflow-x: auto">{html.escape(str(self))}</pre>'

    def _verdict(self) -> str:
        counts = {severity: sum(one.severity == severity for one in self.findings) for severity in SEVERITIES}
        told = ", ".join(f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count)
        if counts[ERROR]:
            return f"Do not train it like this: {told}."
        if counts[WARNING]:
            return f"It may learn, but not as well as it could: {told}."
        return f"Ready to train: nothing was found{f' but {told}' if told else ''}."


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _figure_lines(figures: Figures) -> Iterator[str]:
    of_all = "" if figures.samples is None else f" of {figures.samples:,}"
    validation = figures.validation_looked_at
    compared = f", and {validation:,} of the validation set" if validation else ""
    yield f"looked at {figures.looked_at:,}{of_all} samples{compared}"
    if figures.initial_cost is not None:
        expected = figures.expected_initial_cost
        known = "" if expected is None else f"; a network that knows nothing has {expected:.4g}"
        yield f"cost before the first step {figures.initial_cost:.4g}{known}"
    if figures.overfit_cost is not None:
        course = f"{figures.overfit_begin:.4g} to {figures.overfit_cost:.4g} in {figures.overfit_steps} steps"
        yield f"one mini-batch of {figures.overfitted} samples learnt by heart: cost {course}"
    if figures.seconds_per_step is not None:
        epoch = figures.seconds_per_epoch
        whole = "" if epoch is None else f", an epoch about {_time(epoch)}"
        yield f"a step of {figures.mini_batch_size:,} samples takes {_time(figures.seconds_per_step)}{whole}"
    if figures.step_bytes is not None:
        yield f"a step needs {figures.step_bytes / 2**20:,.1f} MiB"
    if figures.layers:
        yield ""
        yield from _table(figures.layers)


def _table(layers: Sequence[LayerFigures]) -> Iterator[str]:
    rows = [("", "layer", "gradient/weight", "update/weight", "never fired")]
    for one in layers:
        ratios = ("" if ratio is None else f"{ratio:.2g}" for ratio in (one.gradient_to_weight, one.update_to_weight))
        rows.append((one.path, one.layer, *ratios, "" if one.dead is None else f"{one.dead:.0%}"))  # type: ignore[arg-type]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        left = (text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True))
        right = (text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True))
        yield "  ".join([*left, *right]).rstrip()


def _time(seconds: float) -> str:
    if seconds < 0.1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:,.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"
