"""Layers: each a frozen dataclass of hyperparameters with a forward and a backward pass.

| layer | file |
| --- | --- |
| ConvolutionLayer | conv |
| FullyConnectedLayer, Embedding | dense |
| TransposedConvolutionLayer | transposed |
| UpsamplingLayer, PixelShuffle | upsampling |
| MaxPoolLayer, AveragePoolLayer, GlobalMaxPoolLayer, GlobalAveragePoolLayer | pool |
| AdaptiveMaxPoolLayer, AdaptiveAveragePoolLayer | adaptive |
| BatchNorm, LayerNorm, GroupNorm | norm |
| LocalResponseNorm | local_response |
| InstanceNorm, RMSNorm | instance_norm |
| ReLU, LeakyReLU, ELU, Sigmoid, TanH, GELU, SiLU, SoftMax, LogSoftMax | activations |
| PReLU, CELU, SELU, Softplus, LogSigmoid, Mish, Softsign | curves |
| ReLU6, HardTanH, HardSigmoid, HardSwish, Threshold, Shrink | clipped |
| Dropout, SpatialDropout, AlphaDropout, GaussianNoise | dropout |
| Flatten, Reshape | shape |
| PaddingLayer, CroppingLayer | frames |
| SparseFullyConnectedLayer, MatrixFactorisation, GraphCut | sparse |
| Sequential, Residual, Branches | containers |
"""

from gedanken.layers.activations import ELU, GELU, Activation, LeakyReLU, LogSoftMax, ReLU, Sigmoid, SiLU, SoftMax, TanH
from gedanken.layers.adaptive import AdaptiveAveragePoolLayer, AdaptiveMaxPoolLayer
from gedanken.layers.base import Context, Layer, Param, StateValue
from gedanken.layers.clipped import HardSigmoid, HardSwish, HardTanH, ReLU6, Shrink, Threshold
from gedanken.layers.containers import Branches, Residual, Sequential
from gedanken.layers.conv import ConvolutionLayer
from gedanken.layers.curves import CELU, SELU, LogSigmoid, Mish, PReLU, Softplus, Softsign
from gedanken.layers.dense import Embedding, FullyConnectedLayer
from gedanken.layers.dropout import AlphaDropout, Dropout, GaussianNoise, SpatialDropout
from gedanken.layers.frames import CroppingLayer, PaddingLayer
from gedanken.layers.instance_norm import InstanceNorm, RMSNorm
from gedanken.layers.local_response import LocalResponseNorm
from gedanken.layers.norm import BatchNorm, GroupNorm, LayerNorm
from gedanken.layers.pool import (
    AveragePoolLayer,
    BasePool,
    GlobalAveragePoolLayer,
    GlobalMaxPoolLayer,
    MaxPoolLayer,
)
from gedanken.layers.shape import Flatten, Reshape
from gedanken.layers.sparse import GraphCut, MatrixFactorisation, SparseFullyConnectedLayer
from gedanken.layers.transposed import TransposedConvolutionLayer
from gedanken.layers.upsampling import PixelShuffle, UpsamplingLayer

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "AdaptiveAveragePoolLayer",
    "AdaptiveMaxPoolLayer",
    "AlphaDropout",
    "AveragePoolLayer",
    "BasePool",
    "BatchNorm",
    "Branches",
    "Context",
    "ConvolutionLayer",
    "CroppingLayer",
    "Dropout",
    "Embedding",
    "Flatten",
    "FullyConnectedLayer",
    "GaussianNoise",
    "GlobalAveragePoolLayer",
    "GlobalMaxPoolLayer",
    "GraphCut",
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "HardTanH",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LocalResponseNorm",
    "LogSigmoid",
    "LogSoftMax",
    "MatrixFactorisation",
    "MaxPoolLayer",
    "Mish",
    "PReLU",
    "PaddingLayer",
    "Param",
    "PixelShuffle",
    "RMSNorm",
    "ReLU",
    "ReLU6",
    "Reshape",
    "Residual",
    "Sequential",
    "Shrink",
    "SiLU",
    "Sigmoid",
    "SoftMax",
    "Softplus",
    "Softsign",
    "SparseFullyConnectedLayer",
    "SpatialDropout",
    "StateValue",
    "TanH",
    "Threshold",
    "TransposedConvolutionLayer",
    "UpsamplingLayer",
]
