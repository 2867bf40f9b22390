"""A network as a table."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gedanken.engine.base import Placement
from gedanken.engine.plan import Plan
from gedanken.engine.tuning import Tuning
from gedanken.layers.containers import shape_of_row
from gedanken.layers.shape import channels_first_shape, each_shape
from gedanken.layers.stages import ContainerStage
from gedanken.types import AnyShape

WIDEST = 88  # letters of a layer in the table; its row has them all
DEEPEST = 10  # levels of indentation


class SummaryRow(NamedTuple):
    """One layer.

    Args:
        layer: its repr; of a container its kind, since what is in it follows.
        output_shape: one sample, channels first; of several outputs a mapping of their names to such.
        parameters: numbers that are trained.
        multiply_adds: of one sample's forward pass, in products.
        activation_bytes: what one sample's results take.
        path: its place in the network, such as "5" or "5.layers.0".
        inner: of a container, the rows of the layers in it; their numbers are part of its own.
        name: what `add` called it.
        learns: what its learning rate is multiplied by, 0 where it is frozen.
    """

    layer: str
    output_shape: AnyShape
    parameters: int
    multiply_adds: int
    activation_bytes: int
    path: str = ""
    inner: "tuple[SummaryRow, ...]" = ()
    name: str = ""
    learns: float = 1.0


class Summary(NamedTuple):
    """What a network is made of. `str` of it is a table, and so is what a terminal or notebook shows of it.

    Args:
        rows: one for each layer.
        engine: name of the engine.
        reason: why it was chosen.
        dtype: number type.
        fallbacks: layers and costs that run by their specification for want of a kernel, each with the reason.
        samples: mini-batch size that step_bytes is for.
        step_bytes: memory of a training step, all vectors and buffers included; None where it is not known before, or
            the network not compiled yet.
        gradients: for each layer of the user's own whether its backward was compared with differences of its forward.
    """

    rows: tuple[SummaryRow, ...]
    engine: str
    reason: str
    dtype: str
    fallbacks: tuple[str, ...] = ()
    samples: int = 0
    step_bytes: int | None = None
    gradients: tuple[str, ...] = ()

    @property
    def total(self) -> SummaryRow:
        """The sums over all layers."""
        numbers = ((row.parameters, row.multiply_adds, row.activation_bytes) for row in self.rows)
        parameters, multiply_adds, activation_bytes = (sum(column) for column in zip(*numbers, strict=True))
        return SummaryRow("all layers", self.rows[-1].output_shape, parameters, multiply_adds, activation_bytes)

    def __str__(self) -> str:
        head = ("", "layer", "output", "parameters", "multiply-adds", "activations")
        lines = [_texts(row, depth) for row, depth in _walked(self.rows)]
        lines.append(_texts(self.total))
        widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
        texts = [_aligned(line, widths) for line in (head, *lines)]
        rule = "-" * len(texts[0])
        body = "\n".join([texts[0], rule, *texts[1:-1], rule, texts[-1]])
        frozen = sum(row.parameters for row in self.rows if not row.learns)
        last = [f"{frozen:,} of {self.total.parameters:,} parameters are frozen"] if frozen else []
        last += [f"engine {self.engine} ({self.reason}), {self.dtype}; costs are of one sample"]
        if self.fallbacks:
            last.append(f"by specification: {', '.join(self.fallbacks)}")
        last += self.gradients
        if self.step_bytes is not None:
            last.append(f"a training step of {self.samples} samples needs {self.step_bytes / 2**20:,.1f} MiB")
        return "\n".join([body, *last])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        import html  # noqa: PLC0415 - for notebooks alone, and it takes as long as ten modules of ours

        return f'<pre style="overflow-x: auto">{html.escape(str(self))}</pre>'


def summarise(plan: Plan, samples: int, optimizer_bytes: int, compiled: bool = True) -> Summary:
    """Return the summary of a plan, for mini-batches of so many samples and an optimizer that keeps so many bytes.

    For a network that is not compiled nothing is: its memory is not told.
    """
    rows = tuple(_row(stage, plan.ops.dtype.itemsize) for stage in plan.layers)
    buffers = plan.step_bytes(samples) if compiled else None
    step_bytes = None if buffers is None else buffers + optimizer_bytes
    engine, fallbacks = plan.engine, tuple(plan.fallbacks)
    return Summary(rows, engine.name, engine.reason, str(plan.ops.dtype), fallbacks, samples, step_bytes)


def named(summary: Summary, names: Sequence[str | None], tuning: Tuning) -> Summary:
    """Return a summary with the names of layers, and how they learn."""
    told = []
    for row in summary.rows:
        place = int(row.path.split(".")[0])  # of a Sequential the layers stand there one by one
        told.append(row._replace(name=names[place] or "", learns=tuning.factor(place)))
    return summary._replace(rows=tuple(told))


def _row(stage: Placement, itemsize: int) -> SummaryRow:
    shape = each_shape(channels_first_shape, stage.output_shape)
    if not isinstance(stage, ContainerStage):
        parameters = sum(math.prod(view.shape) for view in stage.p.values())
        numbers = int(stage.layer.multiply_adds(stage.shape)), int(stage.layer.activations(stage.shape)) * itemsize
        return SummaryRow(repr(stage.layer), shape, parameters, *numbers, stage.path)
    kind = type(stage.layer).__name__
    inner: list[SummaryRow] = []
    for name, row in stage.rows.items():
        if not row:
            given = channels_first_shape(shape_of_row(stage.shape, name))
            inner.append(SummaryRow("the input itself", given, 0, 0, 0, f"{stage.path}.{name}"))
        inner += (_row(one, itemsize) for one in row)
    joins = len(stage.rows) > 1 and not stage.layer.gives_names
    joined = math.prod(stage.output_shape) * itemsize if joins else 0
    parameters, multiply_adds = sum(row.parameters for row in inner), sum(row.multiply_adds for row in inner)
    held = joined + sum(row.activation_bytes for row in inner)
    label = f"{kind} ({stage.layer.merge})" if joins or stage.layer.input_names else kind
    return SummaryRow(label, shape, parameters, multiply_adds, held, stage.path, tuple(inner))


def _walked(rows: tuple[SummaryRow, ...]) -> Iterator[tuple[SummaryRow, int]]:
    """Yield rows and what is in them, with how deep it stands."""
    todo = [(row, 0) for row in reversed(rows)]
    while todo:
        row, depth = todo.pop()
        yield row, depth
        todo += [(inner, depth + 1) for inner in reversed(row.inner)]


def _texts(row: SummaryRow, depth: int = 0) -> tuple[str, ...]:
    how = "" if row.learns == 1 else f", rate x {row.learns:g}" if row.learns else ", frozen"
    layer = "  " * min(depth, DEEPEST) + f"{f'{row.name}: ' if row.name else ''}{row.layer}"
    layer = layer[: WIDEST - len(how)] + how if how else layer
    layer = layer if len(layer) <= WIDEST else f"{layer[: WIDEST - 3]}..."
    size = f"{row.activation_bytes / 1024:,.1f} KiB"
    return (row.path, layer, _shape_text(row.output_shape), f"{row.parameters:,}", f"{row.multiply_adds:,}", size)


def _shape_text(shape: AnyShape) -> str:
    return ", ".join(f"{name} {one}" for name, one in shape.items()) if isinstance(shape, Mapping) else str(shape)


def _aligned(line: tuple[str, ...], widths: list[int]) -> str:
    left = [text.ljust(width) for text, width in zip(line[:3], widths[:3], strict=True)]
    right = [text.rjust(width) for text, width in zip(line[3:], widths[3:], strict=True)]
    return "  ".join([*left, *right]).rstrip()
