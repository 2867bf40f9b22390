"""Depthwise convolution: one kernel for each channel."""

import math

import numpy as np

from gedanken.engine.cpu.kernels.band import Finish
from gedanken.engine.cpu.kernels.depthwise import LONG
from gedanken.engine.cpu.kernels.rows import Activation
from gedanken.engine.cpu.lowering.activations import LINEAR
from gedanken.engine.cpu.lowering.base import Lowering, slots_of, window_of
from gedanken.engine.cpu.program import Buffer
from gedanken.geometry import Geometry
from gedanken.layers.stages import LayerStage
from gedanken.types import Array, Shape


def is_depthwise(geometry: Geometry, image: Shape, filters: int) -> bool:
    """Return whether every channel of images (H, W, C) has one kernel of its own."""
    return geometry.groups == image[2] == filters > 1


class Depthwise:
    """The numbers that all passes of a depthwise convolution share."""

    def __init__(self, low: Lowering, stage: LayerStage, geometry: Geometry) -> None:
        self.low, self.stage = low, stage
        self.image, self.output = stage.shape, stage.output_shape
        self.geometry, self.taps = geometry, math.prod(geometry.size)

    def forward(
        self,
        x: Buffer,
        weights: Array | Buffer,
        bias: Array | Buffer,
        measured: bool = False,
        activation: Activation = LINEAR,
    ) -> tuple[Buffer, Buffer, Array]:
        """Emit y; return also the statistics of its channels and the sizes of what each is of, where `measured`."""
        low, (height, width, channels) = self.low, self.output
        band, bands = low.bands(height)
        y = low.buffer((low.samples, *self.output))
        statistics = low.buffer((low.samples * bands, 3, channels) if measured else (1,))
        low.program.add(
            "depthwise.forward", low.samples * bands, self._room(self.output[1]), x=x, weights=weights, bias=bias, y=y,
            window=window_of(self.stage, self.geometry, band, bands),
            finish=Finish(activation=activation, measured=int(measured), statistics=statistics),
        )  # fmt: skip
        lengths = [min(band, height - start) * width for start in range(0, height, band)]
        return y, statistics, np.tile(np.array(lengths, low.real), low.samples)

    def backward(self, x: Buffer, dy: Buffer, wanted: bool) -> Buffer | None:
        """Emit the gradients of weights and bias, and the input gradient if wanted."""
        low, stage = self.low, self.stage
        kernel, channels = stage.g["kernel"], self.image[2]
        band, bands = low.bands(self.image[0])
        sums, window = slots_of(low, stage), window_of(stage, self.geometry, band, bands)
        low.program.add(
            "depthwise.kernel_gradient", sums.slots, 2 * (kernel.size + channels), x=x, dy=dy, sums=sums,
            window=window,
        )  # fmt: skip
        low.add_up(sums.weights, kernel, sums.slots)
        if "bias" in stage.g:
            low.add_up(sums.bias, stage.g["bias"], sums.slots)
        if not wanted:
            return None
        dx = low.buffer((low.samples, *self.image))
        low.program.add(
            "depthwise.gradient", low.samples * bands, self._room(self.image[1]), dy=dy, weights=stage.p["kernel"],
            dx=dx, window=window,
        )  # fmt: skip
        return dx

    def _room(self, width: int) -> int:
        """Return the scratch memory for rows of so many pixels."""
        return 2 * width * self.image[2] if self.taps > LONG else 0
