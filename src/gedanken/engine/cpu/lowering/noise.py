"""Random changes that stand outside of a pass: SpatialDropout, AlphaDropout and GaussianNoise."""

import math

import numpy as np

from gedanken.engine.cpu.kernels.noise import Added, Thinning
from gedanken.engine.cpu.kernels.rows import Draw
from gedanken.engine.cpu.lowering.base import PIECE, Lowered, Lowering, cut
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import AlphaDropout, Dropout, GaussianNoise
from gedanken.layers.dropout import LOWEST
from gedanken.layers.stages import LayerStage
from gedanken.random import DRAW_RANGE, DRAWS_PER_BLOCK, NORMALS_PER_BLOCK, Purpose, stream_key


def thinned(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower SpatialDropout and AlphaDropout."""
    layer, shape = stage.layer, stage.shape
    assert isinstance(layer, Dropout)
    if not low.train or layer.threshold == DRAW_RANGE:
        return x, _passed
    alpha = isinstance(layer, AlphaDropout)
    channels = math.prod(shape[-2:] if alpha and len(shape) == 3 else shape[-1:])  # numbers of a run of draws
    pixels = math.prod(shape) // channels
    factor, shift = layer.line if isinstance(layer, AlphaDropout) else (DRAW_RANGE / layer.threshold, 0.0)
    blocks = cut(math.prod(stage.whole) if alpha else channels, DRAWS_PER_BLOCK)
    draw = draw_of(low, stage, Purpose.DROPOUT, blocks, layer.threshold)
    piece = min(pixels, cut(PIECE, channels))
    pieces = cut(pixels, piece)

    def emit(given: Buffer, lowest: float, added: float) -> Buffer:
        made = low.buffer(x.shape)
        thinning = Thinning(
            pixels=pixels, channels=channels, pieces=pieces, piece=piece, whole=int(not alpha),
            factor=factor, low=lowest, shift=added, draw=draw,
        )  # fmt: skip
        low.program.add("noise.thin", low.samples * pieces, 2 * channels + 32, x=given, y=made, t=thinning)
        return made

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        return emit(dy, 0.0, 0.0) if wanted else None

    return emit(x, LOWEST if alpha else 0.0, shift), backward


def with_noise(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower GaussianNoise."""
    layer, size = stage.layer, math.prod(stage.shape)
    assert isinstance(layer, GaussianNoise)
    if not low.train:
        return x, _passed
    y = low.buffer(x.shape)
    draw = draw_of(low, stage, Purpose.NOISE, cut(math.prod(stage.whole), NORMALS_PER_BLOCK))
    added = Added(size=size, pieces=cut(size, PIECE), piece=PIECE, std=layer.std, draw=draw)
    low.program.add("noise.add_normals", low.samples * added.pieces, 2 * PIECE, x=x, y=y, a=added)
    return y, _passed


def draw_of(low: Lowering, stage: LayerStage, purpose: Purpose, blocks: int, threshold: int = 0) -> Draw:
    """Return which random numbers a layer draws: so many blocks for each sample."""
    key = stream_key(low.seed, purpose, stage.path).view(np.int64).tolist()
    return Draw(key_0=key[0], key_1=key[1], epoch=low.epoch, position=low.position, blocks=blocks, threshold=threshold)


def _passed(dy: Buffer, _: bool) -> Buffer | None:
    return dy
