"""A network as a table."""

import math
from typing import NamedTuple

from gedanken.engine.plan import Plan
from gedanken.layers.shape import door_shape
from gedanken.types import Shape

WIDEST = 88  # letters of a layer in the table; its row has them all


class SummaryRow(NamedTuple):
    """One layer.

    Args:
        layer: its repr.
        output_shape: one sample, as at the door.
        parameters: numbers that are trained.
        multiply_adds: of one sample's forward pass, in products.
        activation_bytes: what one sample's results take.
    """

    layer: str
    output_shape: Shape
    parameters: int
    multiply_adds: int
    activation_bytes: int


class Summary(NamedTuple):
    """What a compiled network is made of; `str` of it is a table.

    Args:
        rows: one for each layer.
        engine: name of the engine.
        reason: why it was chosen.
        dtype: number type.
        fallbacks: layers that run by their specification for want of a kernel, each with the reason.
        samples: mini-batch size that step_bytes is for.
        step_bytes: memory of a training step, all vectors and buffers included; None where it is not known before.
    """

    rows: tuple[SummaryRow, ...]
    engine: str
    reason: str
    dtype: str
    fallbacks: tuple[str, ...] = ()
    samples: int = 0
    step_bytes: int | None = None

    @property
    def total(self) -> SummaryRow:
        """The sums over all layers."""
        parameters, multiply_adds, activation_bytes = (sum(column) for column in list(zip(*self.rows, strict=True))[2:])
        return SummaryRow("all layers", self.rows[-1].output_shape, parameters, multiply_adds, activation_bytes)

    def __str__(self) -> str:
        head = ("", "layer", "output", "parameters", "multiply-adds", "activations")
        lines = [(str(i), *_texts(row)) for i, row in enumerate(self.rows)]
        lines.append(("", *_texts(self.total)))
        widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
        texts = [_aligned(line, widths) for line in (head, *lines)]
        rule = "-" * len(texts[0])
        body = "\n".join([texts[0], rule, *texts[1:-1], rule, texts[-1]])
        last = [f"engine {self.engine} ({self.reason}), {self.dtype}; costs are of one sample"]
        if self.fallbacks:
            last.append(f"by specification: {', '.join(self.fallbacks)}")
        if self.step_bytes is not None:
            last.append(f"a training step of {self.samples} samples needs {self.step_bytes / 2**20:,.1f} MiB")
        return "\n".join([body, *last])


def summarise(plan: Plan, samples: int, optimizer_bytes: int) -> Summary:
    """Return the summary of a plan, for mini-batches of so many samples and an optimizer that keeps so many bytes."""
    itemsize = plan.ops.dtype.itemsize
    rows = tuple(
        SummaryRow(
            repr(step.layer),
            door_shape(step.output_shape),
            sum(math.prod(view.shape) for view in step.p.values()),
            step.layer.multiply_adds(step.shape),
            step.layer.activations(step.shape) * itemsize,
        )
        for step in plan.layers
    )
    buffers = plan.step_bytes(samples)
    step = None if buffers is None else buffers + optimizer_bytes
    return Summary(
        rows, plan.engine.name, plan.engine.reason, str(plan.ops.dtype), tuple(plan.fallbacks), samples, step
    )


def _texts(row: SummaryRow) -> tuple[str, ...]:
    layer = row.layer if len(row.layer) <= WIDEST else f"{row.layer[: WIDEST - 3]}..."
    size = f"{row.activation_bytes / 1024:,.1f} KiB"
    return (layer, str(row.output_shape), f"{row.parameters:,}", f"{row.multiply_adds:,}", size)


def _aligned(line: tuple[str, ...], widths: list[int]) -> str:
    left = [text.ljust(width) for text, width in zip(line[:3], widths[:3], strict=True)]
    right = [text.rjust(width) for text, width in zip(line[3:], widths[3:], strict=True)]
    return "  ".join([*left, *right]).rstrip()
