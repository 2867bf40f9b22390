"""Layers: each a frozen dataclass of hyperparameters with a forward and a backward pass.

| layer | file |
| --- | --- |
| ConvolutionLayer | conv |
| FullyConnectedLayer, Embedding | dense |
| TransposedConvolutionLayer | transposed |
| UpsamplingLayer, PixelShuffle, PixelUnshuffle | upsampling |
| MaxPoolLayer, AveragePoolLayer, LpPoolLayer, GlobalMaxPoolLayer, GlobalAveragePoolLayer, GlobalLpPoolLayer | pool |
| AdaptiveMaxPoolLayer, AdaptiveAveragePoolLayer, AdaptiveMaxPool1DLayer, AdaptiveAveragePool1DLayer | adaptive |
| SimpleRNN, LSTM, GRU | recurrent |
| Bidirectional | bidirectional |
| FromState | from_state |
| BatchNorm | norm |
| LayerNorm, RMSNorm, UnitNorm | layer_norm |
| LocalResponseNorm | local_response |
| GroupNorm, InstanceNorm | group_norm |
| ReLU, LeakyReLU, ELU, Sigmoid, TanH, GELU, SiLU | activations |
| SoftMax, LogSoftMax | softmax |
| PReLU, CELU, SELU, Softplus, LogSigmoid, Mish, Softsign, TanHShrink | curves |
| GLU | glu |
| ReLU6, HardTanH, HardSigmoid, HardSwish, Threshold, Shrink | clipped |
| Dropout, SpatialDropout, AlphaDropout, GaussianNoise | dropout |
| Convolution1DLayer | conv1d |
| MaxPool1DLayer, AveragePool1DLayer, LpPool1DLayer | pool1d |
| GlobalMaxPool1DLayer, GlobalAveragePool1DLayer, GlobalLpPool1DLayer | pool1d |
| MultiHeadAttention | attention |
| CrossAttention | cross_attention |
| LearnedPositions, SinePositions | positions |
| Flatten, Reshape | shape |
| Permute | permute |
| PaddingLayer, CroppingLayer | frames |
| SparseFullyConnectedLayer, MatrixFactorisation, GraphCut | sparse |
| Sequential | containers |
| Residual, Branches, Heads | branches |
| FunctionLayer | function |
"""

from gedanken.layers.activations import ELU, GELU, Activation, LeakyReLU, ReLU, Sigmoid, SiLU, TanH
from gedanken.layers.adaptive import (
    AdaptiveAveragePool1DLayer,
    AdaptiveAveragePoolLayer,
    AdaptiveMaxPool1DLayer,
    AdaptiveMaxPoolLayer,
)
from gedanken.layers.attention import MultiHeadAttention
from gedanken.layers.base import Context, Layer, Param, StateValue
from gedanken.layers.bidirectional import Bidirectional
from gedanken.layers.branches import Branches, Heads, Residual
from gedanken.layers.clipped import HardSigmoid, HardSwish, HardTanH, ReLU6, Shrink, Threshold
from gedanken.layers.containers import Sequential
from gedanken.layers.conv import ConvolutionLayer
from gedanken.layers.conv1d import Convolution1DLayer
from gedanken.layers.cross_attention import CrossAttention
from gedanken.layers.curves import CELU, SELU, LogSigmoid, Mish, PReLU, Softplus, Softsign, TanHShrink
from gedanken.layers.dense import Embedding, FullyConnectedLayer
from gedanken.layers.dropout import AlphaDropout, Dropout, GaussianNoise, SpatialDropout
from gedanken.layers.frames import CroppingLayer, PaddingLayer
from gedanken.layers.from_state import FromState
from gedanken.layers.function import FunctionLayer
from gedanken.layers.glu import GLU
from gedanken.layers.group_norm import GroupNorm, InstanceNorm
from gedanken.layers.layer_norm import LayerNorm, RMSNorm, UnitNorm
from gedanken.layers.local_response import LocalResponseNorm
from gedanken.layers.norm import BatchNorm
from gedanken.layers.permute import Permute
from gedanken.layers.pool import (
    AveragePoolLayer,
    BasePool,
    GlobalAveragePoolLayer,
    GlobalLpPoolLayer,
    GlobalMaxPoolLayer,
    LpPoolLayer,
    MaxPoolLayer,
)
from gedanken.layers.pool1d import (
    AveragePool1DLayer,
    GlobalAveragePool1DLayer,
    GlobalLpPool1DLayer,
    GlobalMaxPool1DLayer,
    LpPool1DLayer,
    MaxPool1DLayer,
)
from gedanken.layers.positions import LearnedPositions, SinePositions
from gedanken.layers.recurrent import GRU, LSTM, SimpleRNN
from gedanken.layers.shape import Flatten, Reshape
from gedanken.layers.softmax import LogSoftMax, SoftMax
from gedanken.layers.sparse import GraphCut, MatrixFactorisation, SparseFullyConnectedLayer
from gedanken.layers.transposed import TransposedConvolutionLayer
from gedanken.layers.upsampling import PixelShuffle, PixelUnshuffle, UpsamplingLayer

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "GRU",
    "LSTM",
    "SELU",
    "Activation",
    "AdaptiveAveragePool1DLayer",
    "AdaptiveAveragePoolLayer",
    "AdaptiveMaxPool1DLayer",
    "AdaptiveMaxPoolLayer",
    "AlphaDropout",
    "AveragePool1DLayer",
    "AveragePoolLayer",
    "BasePool",
    "BatchNorm",
    "Bidirectional",
    "Branches",
    "Context",
    "Convolution1DLayer",
    "ConvolutionLayer",
    "CroppingLayer",
    "CrossAttention",
    "Dropout",
    "Embedding",
    "Flatten",
    "FromState",
    "FullyConnectedLayer",
    "FunctionLayer",
    "GaussianNoise",
    "GlobalAveragePool1DLayer",
    "GlobalAveragePoolLayer",
    "GlobalLpPool1DLayer",
    "GlobalLpPoolLayer",
    "GlobalMaxPool1DLayer",
    "GlobalMaxPoolLayer",
    "GraphCut",
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "HardTanH",
    "Heads",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LearnedPositions",
    "LocalResponseNorm",
    "LogSigmoid",
    "LogSoftMax",
    "LpPool1DLayer",
    "LpPoolLayer",
    "MatrixFactorisation",
    "MaxPool1DLayer",
    "MaxPoolLayer",
    "Mish",
    "MultiHeadAttention",
    "PReLU",
    "PaddingLayer",
    "Param",
    "Permute",
    "PixelShuffle",
    "PixelUnshuffle",
    "RMSNorm",
    "ReLU",
    "ReLU6",
    "Reshape",
    "Residual",
    "Sequential",
    "Shrink",
    "SiLU",
    "Sigmoid",
    "SimpleRNN",
    "SinePositions",
    "SoftMax",
    "Softplus",
    "Softsign",
    "SparseFullyConnectedLayer",
    "SpatialDropout",
    "StateValue",
    "TanH",
    "TanHShrink",
    "Threshold",
    "TransposedConvolutionLayer",
    "UnitNorm",
    "UpsamplingLayer",
]
