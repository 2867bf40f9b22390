"""Transposed convolution: the passes of the convolution that it goes back through, each in another's place."""

import math
from dataclasses import replace

from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.kernels.rows import Activation
from gedanken.engine.cpu.lowering.base import PIECE, Lowering, cut
from gedanken.engine.cpu.lowering.conv import Convolved, rows_joined, slid, slid_back
from gedanken.engine.cpu.lowering.taps import backward, forward
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import TransposedConvolutionLayer
from gedanken.layers.stages import LayerStage


def transposed(low: Lowering, stage: LayerStage, x: Buffer, measured: bool, activation: Activation) -> Convolved:
    """Lower a transposed convolution.

    Its forward pass is the convolution's input gradient with a bias; its input gradient is the convolution; its kernel
    gradient is the convolution's, of the image dy and the gradient x.

    Args:
        low: the program.
        stage: the layer.
        x: what it is given.
        measured: whether a BatchNorm wants to know the outputs' statistics.
        activation: what the outputs go through, at prediction only.
    """
    layer, kernel = stage.layer, stage.p["kernel"]
    assert isinstance(layer, TransposedConvolutionLayer)
    geometry, image = rows_joined(layer.geometry(stage.shape), stage.output_shape)
    there = forward(geometry, image, stage.shape[2])
    back_again = backward(geometry, image, there.target)
    y, found, counts = slid_back(low, back_again, geometry, x, kernel, stage.p.get("bias"), measured, activation)

    def back(dy: Buffer, wanted: bool) -> Buffer | None:
        alone = replace(stage, g={"kernel": stage.g["kernel"]})  # a bias of the convolution would be of other channels
        low.products.kernel_gradient(low, alone, there, geometry, dy, x)
        if "bias" in stage.g:
            _bias_gradient(low, stage, dy)
        if not wanted:
            return None
        dx, _, _ = slid(low, there, geometry, dy, kernel, low.zeros(stage.shape[2]))
        return low.program.view(dx, (low.samples, *stage.shape))

    return Convolved(low.program.view(y, (low.samples, *stage.output_shape)), back, found, counts)


def _bias_gradient(low: Lowering, stage: LayerStage, dy: Buffer) -> None:
    """Emit the sums of dy over all pixels."""
    rows, columns = low.samples * math.prod(stage.output_shape[:2]), stage.output_shape[2]
    piece = cut(PIECE, columns)
    slots = cut(rows, piece)
    partial = low.buffer((slots, columns))
    low.program.add("blocks.sum_pieces", slots, x=dy, partial=partial, m=Rows(rows=rows, columns=columns, piece=piece))
    low.add_up(partial, stage.g["bias"], slots)
