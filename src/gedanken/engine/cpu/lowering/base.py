"""What the instructions of one program share."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gedanken.engine.cpu.kernels.band import Slots
from gedanken.engine.cpu.kernels.conv import Transposed
from gedanken.engine.cpu.kernels.window import Window
from gedanken.engine.cpu.lowering.plan import Plan
from gedanken.engine.cpu.program import Buffer, Program, Variable
from gedanken.geometry import Geometry
from gedanken.layers.stages import LayerStage
from gedanken.ranks.together import Together
from gedanken.types import AnyShape, Array, Arrays, Shape

# Emits the backward instructions: (gradient with respect to the output, whether the input gradient is wanted) -> the
# input gradient.
Backward = Callable[[Buffer, bool], Buffer | None]
Lowered = tuple[Buffer, Backward]

PIECE = 1 << 13  # numbers in one task of a pass over memory
TASKS = 8  # so many tasks are worth having, however few samples there are
CACHED = 160 << 10  # bytes of images that a task works on at once, well inside a second-level cache
SUMS = 4 << 20  # bytes for all slots of a kernel's gradient together


@dataclass(eq=False)
class Lengths:
    """Where kernels find the lengths of sequences.

    Args:
        given: what they read.
        whole: the lengths where all places are real.
    """

    given: Buffer
    whole: Array

    def __post_init__(self) -> None:
        self.told = self.whole  # held here as long as kernels may read it


class Lowering:
    """One program in the making.

    Args:
        program: where instructions go.
        samples: mini-batch size.
        train: whether it is a training pass.
        seed: of the network.
        products: how matrices are multiplied.
        has_lengths: whether sequences have lengths; if not, all places are real.
        together: of a pass of several ranks over their shares of a mini-batch: what they say in it.
    """

    def __init__(
        self,
        program: Program,
        samples: int,
        train: bool,
        seed: int,
        products: "Products",
        has_lengths: bool = False,
        together: Together | None = None,
    ) -> None:
        self.program, self.samples, self.train, self.seed = program, samples, train, seed
        self.has_lengths, self.together = has_lengths, together
        self.products, self.real = products, np.dtype(program.library.dtype)
        self.lanes = program.library.machine.lanes(self.real.itemsize)
        self.tile_rows, self.tile_columns = products.tile
        self.epoch, self.position = Variable(), Variable()  # of the mini-batch, for what draws random numbers
        self.zero_offset = np.zeros(1, np.int64)
        self._lengths = dict[tuple[str, str], Lengths]()

    def lengths(self, stage: LayerStage, name: str = "") -> Buffer:
        """Return how many places of each sequence that a layer gets are real, (N,) of int64: T where all are.

        Of a layer that takes names, `name` says of which input.
        """
        key = stage.path, name
        if key not in self._lengths:
            shape: AnyShape = stage.shape
            places = (shape[name] if name else shape)[0]
            given = self.program.input((self.samples,), "int64")
            self._lengths[key] = Lengths(given, np.full(self.samples, places, np.int64))
        return self._lengths[key].given

    def tell_lengths(self, lengths_at: Arrays | None) -> None:
        """Say for the next run how long sequences are; see Context."""
        for (path, name), one in self._lengths.items():
            told: Any = (lengths_at or {}).get(path)
            told = told.get(name) if name and told is not None else told
            one.told = one.whole if told is None else told
            one.given.point_to(one.told)

    def buffer(self, shape: Shape, dtype: str = "") -> Buffer:
        return self.program.buffer(shape, dtype or None)

    def add_over_ranks(self, buffer: Buffer) -> None:
        """Let a buffer become the sum of those of all ranks."""
        if together := self.together:
            self.program.pause(lambda: together.add(self.program.array(buffer)))

    def zeros(self, count: int) -> Array:
        return np.zeros(count, self.real)

    def ones(self, count: int) -> Array:
        return np.ones(count, self.real)

    def panels(self, columns: int) -> int:
        """Return how many panels of a packed matrix so many columns fill."""
        return cut(columns, self.tile_columns)

    def bands(self, rows: int) -> tuple[int, int]:
        """Return how an image of so many rows is cut into tasks: (rows of a band, bands)."""
        band = cut(rows, cut(TASKS, self.samples))
        return band, cut(rows, band)

    def add_up(self, partial: Array | Buffer, target: Array | Buffer, slots: int) -> None:
        """Add up the slots of a sum, each of the target's size."""
        size = target.nbytes // self.real.itemsize
        self.program.add(
            "blocks.add_slots", cut(size, PIECE), 2 * PIECE, partial=partial, target=target, size=size, slots=slots,
            piece=PIECE,
        )  # fmt: skip


class Matrix(NamedTuple):
    """Numbers in rows and columns, `down` apart from row to row and `right` from column to column."""

    numbers: Buffer | Array
    down: int
    right: int

    def transposed(self) -> "Matrix":
        """Return the transposed matrix."""
        return Matrix(self.numbers, self.right, self.down)


class Products(ABC):
    """How the matrices of a program are multiplied: all that lowering needs to know of it.

    Attributes:
        tile: the largest tile of the micro-kernel, (rows, columns).
        correlate, spread: the kernels of a convolution that gathers, and of one that spreads.
        speed: vectors that are multiplied and added in the time that a vector unit takes for one.
        reads_in_place: whether a left factor may be read where it lies; else it is copied first, with zeros beside it.
        spreads_forward: whether a forward pass may spread: there is a packing for it.
        other_basis: whether numbers may be brought into another basis first: rounded ones lose too much there.
    """

    tile: tuple[int, int]
    correlate: str
    spread: str
    speed: int
    reads_in_place: bool
    spreads_forward: bool
    other_basis: bool

    @abstractmethod
    def tile_cost(self, rows: Array) -> Array:
        """Return what tiles of so many rows cost, in rows."""

    @abstractmethod
    def band_scratch(self, size: int, pitch: int, border: bool) -> int:
        """Return the scratch memory for a band of images, rows `pitch` apart; `border`: whether zeros are beside it."""

    @abstractmethod
    def strip_scratch(self, pixels: int, channels: int, products: int) -> int:
        """Return the scratch memory for some pixels that are spread and for their products."""

    @abstractmethod
    def pack(self, low: Lowering, kernel: Array | Buffer, sizes: tuple[int, int, int], groups: int = 1) -> Buffer:
        """Emit the packing of a right factor; sizes are taps, depth of each, and columns of a group."""

    @abstractmethod
    def pack_transposed(
        self, low: Lowering, kernel: Array | Buffer, taps: list[list[int]], depth: int, sizes: tuple[int, int, int]
    ) -> tuple[Buffer, list[int]]:
        """Emit the packing of a transposed right factor, phase after phase; return also where each phase begins.

        Args:
            taps: of each phase.
            depth: numbers that lie in a row in the left factor.
            sizes: inputs (the columns), outputs (summed over) of a group, groups.
        """

    @abstractmethod
    def multiply(
        self, low: Lowering, a: Matrix, b: Matrix, bias: Array | Buffer, c: Buffer | Array,
        sizes: tuple[int, int, int], pieces: int,
    ) -> None:  # fmt: skip
        """Emit C = A B + bias; sizes are (rows, columns, inner), and C is `pieces` partial sums over inner."""

    @abstractmethod
    def kernel_gradient(
        self, low: Lowering, stage: LayerStage, plan: Plan, geometry: Geometry, x: Buffer, dy: Buffer
    ) -> None:
        """Emit a convolution's gradients with respect to kernel and bias; plan is the one of the forward pass."""


def pack_phases(
    low: Lowering, name: str, weights: Array | Buffer, taps: list[list[int]], lengths: list[int],
    sizes: tuple[int, int, int], dtype: str = "", **more: int,
) -> tuple[Buffer, list[int]]:  # fmt: skip
    """Emit the packing of all phases at once; return the packed memory, and where in it each phase begins.

    Args:
        name: of the kernel that packs.
        weights, taps, sizes: as of `Products.pack_transposed`.
        lengths: numbers in a panel of each phase.
        dtype: of the packed numbers.
        more: what else the kernel is told.
    """
    inputs, outputs, groups = sizes
    panels = groups * low.panels(inputs)
    starts = list(itertools.accumulate((panels * length for length in lengths), initial=0))
    packed = low.buffer((max(starts[-1], 1),), dtype)
    ends = itertools.accumulate((len(listed) for listed in taps), initial=0)
    transposed = Transposed(
        starts=np.array(starts, np.int64), taps=np.array([*itertools.chain(*taps)] or [0], np.int64),
        ends=np.array([*ends], np.int64), inputs=inputs, outputs=outputs, groups=groups,
    )  # fmt: skip
    low.program.add(name, panels * len(taps), weights=weights, packed=packed, kernel=transposed, **more)
    return packed, starts[:-1]


def slot_count(low: Lowering, stage: LayerStage) -> int:
    """Return in how many parts the gradients of a convolution are summed."""
    return max(1, min(low.samples, 2 * TASKS, SUMS // (stage.g["kernel"].size * low.real.itemsize)))


def slots_of(low: Lowering, stage: LayerStage) -> Slots:
    """Return the memory where a convolution's gradients are summed."""
    kernel, slots = stage.g["kernel"], slot_count(low, stage)
    return Slots(
        weights=low.buffer((slots, kernel.size)), bias=low.buffer((slots, kernel.shape[3])),
        biased=int("bias" in stage.g), images=low.samples, slots=slots,
    )  # fmt: skip


def window_of(stage: LayerStage, geometry: Geometry, band: int, bands: int) -> Window:
    """Return where a layer's windows stand, and the bands of what a kernel makes with them."""
    out_height, out_width = geometry.positions(stage.shape)
    return Window(
        height=stage.shape[0], width=stage.shape[1], channels=stage.shape[2], out_height=out_height,
        out_width=out_width, rows=geometry.size[0], columns=geometry.size[1], down=geometry.stride[0],
        right=geometry.stride[1], top=geometry.padding[0][0], left=geometry.padding[1][0], by_row=geometry.dilation[0],
        by_column=geometry.dilation[1], band=band, bands=bands,
    )  # fmt: skip


def no_backward(*_: object) -> Buffer | None:
    """Stand for the backward pass of what is made for predictions alone."""
    raise AssertionError("a prediction has no backward pass")


def cut(count: int, size: int) -> int:
    """Return in how many parts of at most `size` a count falls."""
    return -(-count // size)
