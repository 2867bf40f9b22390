"""What other libraries call things, so that an error can name what they are called here."""

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, ParamSpec, Self, TypeVar

from gedanken.errors import UnknownArgumentError

P = ParamSpec("P")
R = TypeVar("R")

# Names of classes, costs and metrics in Keras, PyTorch and scikit-learn, in small letters without underscores.
NAMES = {
    "adaptiveavgpool2d": "AdaptiveAveragePoolLayer",
    "adaptivemaxpool2d": "AdaptiveMaxPoolLayer",
    "add": "Residual",
    "average": "Branches",
    "averagepooling2d": "AveragePoolLayer",
    "avgpool2d": "AveragePoolLayer",
    "batchnorm1d": "BatchNorm",
    "batchnorm2d": "BatchNorm",
    "batchnormalization": "BatchNorm",
    "bce": "binary_cross_entropy",
    "bceloss": "binary_cross_entropy",
    "bcewithlogitsloss": "binary_cross_entropy",
    "binarycrossentropy": "binary_cross_entropy",
    "binaryfocalcrossentropy": "binary_focal",
    "categoricalcrossentropy": "cross_entropy",
    "categoricalfocalcrossentropy": "focal",
    "circularpad2d": "PaddingLayer",
    "concatenate": "Branches",
    "maximum": "Branches",
    "minimum": "Branches",
    "multiply": "Branches",
    "subtract": "Branches",
    "conv1d": "Convolution1DLayer",
    "multiheadattention": "MultiHeadAttention",
    "maxpooling1d": "MaxPool1DLayer",
    "maxpool1d": "MaxPool1DLayer",
    "averagepooling1d": "AveragePool1DLayer",
    "avgpool1d": "AveragePool1DLayer",
    "globalmaxpooling1d": "GlobalMaxPool1DLayer",
    "adaptivemaxpool1d": "GlobalMaxPool1DLayer",
    "globalaveragepooling1d": "GlobalAveragePool1DLayer",
    "adaptiveavgpool1d": "GlobalAveragePool1DLayer",
    "constantpad2d": "PaddingLayer",
    "conv2d": "ConvolutionLayer",
    "conv2dtranspose": "TransposedConvolutionLayer",
    "convolution": "ConvolutionLayer",
    "convtranspose2d": "TransposedConvolutionLayer",
    "cosineembeddingloss": "cosine_distance",
    "cosinesimilarity": "cosine_distance",
    "cropping1d": "CroppingLayer",
    "cropping2d": "CroppingLayer",
    "crossentropyloss": "cross_entropy",
    "dense": "FullyConnectedLayer",
    "depthtospace": "PixelShuffle",
    "dropout1d": "SpatialDropout",
    "dropout2d": "SpatialDropout",
    "fullyconnected": "FullyConnectedLayer",
    "gaussiannllloss": "gaussian_nll",
    "globalaveragepooling2d": "GlobalAveragePoolLayer",
    "globalmaxpooling2d": "GlobalMaxPoolLayer",
    "groupnormalization": "GroupNorm",
    "kldivergence": "kullback_leibler",
    "kldivloss": "kullback_leibler",
    "hardshrink": "Shrink",
    "hardsilu": "HardSwish",
    "instancenorm1d": "InstanceNorm",
    "instancenorm2d": "InstanceNorm",
    "lambda": "FunctionLayer",
    "l1loss": "mean_absolute",
    "layernormalization": "LayerNorm",
    "linear": "FullyConnectedLayer",
    "mae": "mean_absolute",
    "mape": "mean_absolute_percentage",
    "maxpool2d": "MaxPoolLayer",
    "maxpooling2d": "MaxPoolLayer",
    "meanabsoluteerror": "mean_absolute",
    "meanabsolutepercentageerror": "mean_absolute_percentage",
    "meansquarederror": "mean_squared",
    "meansquaredlogarithmicerror": "mean_squared_logarithmic",
    "mse": "mean_squared",
    "mseloss": "mean_squared",
    "msle": "mean_squared_logarithmic",
    "multimarginloss": "multi_margin",
    "nllloss": "cross_entropy",
    "poissonnllloss": "poisson",
    "reflectionpad2d": "PaddingLayer",
    "replicationpad2d": "PaddingLayer",
    "rnn": "SimpleRNN",
    "sigmoidfocalloss": "binary_focal",
    "smoothl1loss": "smooth_l1",
    "rmsnormalization": "RMSNorm",
    "softshrink": "Shrink",
    "sparsecategoricalcrossentropy": "cross_entropy",
    "spatialdropout1d": "SpatialDropout",
    "spatialdropout2d": "SpatialDropout",
    "swish": "SiLU",
    "thresholdedrelu": "Threshold",
    "upsample": "UpsamplingLayer",
    "upsampling2d": "UpsamplingLayer",
    "zeropad2d": "PaddingLayer",
    "zeropadding1d": "PaddingLayer",
    "zeropadding2d": "PaddingLayer",
}

# Names of metrics, where a cost has that name too.
METRICS = {
    "auc": "roc_auc",
    "averageprecisionscore": "average_precision",
    "binaryiou": "iou",
    "classificationreport": "class_report",
    "dice": "dice_coefficient",
    "f1score": "f1",
    "jaccard": "iou",
    "jaccardscore": "iou",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "meaniou": "iou",
    "mse": "mean_squared_error",
    "r2score": "r2",
    "rmse": "root_mean_square_error",
    "rootmeansquarederror": "root_mean_square_error",
    "subsetaccuracy": "exact_match",
}

# Names of values in records, and of engines, likewise.
VALUES = {
    "acc": "accuracy",
    "gpu": "cuda",
    "loss": "cost",
    "valacc": "validation_accuracy",
    "valaccuracy": "validation_accuracy",
    "valloss": "validation_cost",
}

# Names of arguments, and how what they say is said here: the first word is an argument of ours. Where there are
# several, the one that the called function has is meant.
ARGUMENTS = {
    "add_bias_kv": ("learned_key",),
    "add_zero_attn": ("zero_key",),
    "affine": ("scale and shift",),
    "alpha": ("slope", "decay"),
    "attn_mask": ("attention_mask, True being what is seen",),
    "base_lr": ("low",),
    "batch_size": ("mini_batch_size",),
    "beta_1": ("beta1",),
    "beta_2": ("beta2",),
    "betas": ("beta1 and beta2",),
    "center": ("shift",),
    "centered": ("centred",),
    "channels": ("n_filter", "n_groups"),
    "class_weight": ("class_weights",),
    "clipnorm": ("clip_norm",),
    "clipvalue": ("clip_value",),
    "count_include_pad": ("count_padding",),
    "criterion": ("cost",),
    "decay_steps": ("steps",),
    "decoupled_weight_decay": ("decoupled",),
    "dilation_rate": ("dilation",),
    "divisor_override": ("divisor",),
    "dropout": ("keep, the share that is kept: 1 - dropout",),
    "elementwise_affine": ("scale and shift",),
    "embedding_dim": ("n_features",),
    "end_factor": ("last",),
    "end_learning_rate": ("final",),
    "eps": ("epsilon",),
    "eta_min": ("final",),
    "filters": ("n_filter",),
    "first_decay_steps": ("steps",),
    "gamma": ("factor", "step_factor"),
    "gradient_accumulation_steps": ("accumulate",),
    "ignore_class": ("ignore_label",),
    "ignore_index": ("ignore_label",),
    "initial_accumulator_value": ("start",),
    "initial_learning_rate": ("rate",),
    "input_dim": ("n_tokens",),
    "interpolation": ("mode",),
    "is_causal": ("causal",),
    "kernel_initializer": ("init",),
    "kernel_size": ("width_filter and height_filter",),
    "key_dim": ("key_size",),
    "lambd": ("threshold",),
    "loss": ("cost",),
    "lr": ("learning_rate",),
    "lr_decay": ("rate_decay",),
    "m_mul": ("factor",),
    "max_lr": ("peak", "high"),
    "max_norm": ("clip_norm",),
    "max_val": ("high",),
    "min_delta": ("threshold: a difference for EarlyStopping, a fraction of the best cost for OnPlateau",),
    "min_lr": ("lowest, a fraction of the rate",),
    "min_val": ("low",),
    "negative_slope": ("slope",),
    "ns_steps": ("steps",),
    "num_embeddings": ("n_tokens",),
    "num_groups": ("n_groups",),
    "num_heads": ("n_heads",),
    "num_parameters": ("shared: whether it is 1",),
    "num_workers": ("workers",),
    "out_channels": ("n_filter",),
    "out_features": ("n_units",),
    "output_dim": ("n_features",),
    "output_shape": ("n_units",),
    "output_size": ("size",),
    "p": ("keep, the share that is kept: 1 - p",),
    "padding": ("zero_padding",),
    "pool_size": ("width_filter and height_filter",),
    "rate": ("keep, the share that is kept: 1 - rate",),
    "rho": ("decay",),
    "sample_weight": ("weights",),
    "scale_factor": ("factor",),
    "schedulers": ("schedules",),
    "start_factor": ("first",),
    "stddev": ("std",),
    "step_size": ("every",),
    "step_size_down": ("fall",),
    "step_size_up": ("rise",),
    "strides": ("stride",),
    "T_0": ("steps",),
    "T_max": ("steps",),
    "t_mul": ("growth",),
    "T_mult": ("growth",),
    "target": ("labels",),
    "timeout": ("time_limit",),
    "total_iters": ("steps",),
    "total_steps": ("steps",),
    "units": ("n_units",),
    "upscale_factor": ("factor",),
    "use_bias": ("bias",),
    "use_causal_mask": ("causal",),
    "validation_data": ("validation_set",),
    "validation_split": ("validation_set, which takes a fraction too",),
    "value_dim": ("value_size",),
    "verbose": ("progress",),
    "weight": ("class_weights",),
    "weights": ("class_weights",),
    "worker_count": ("workers",),
    "X": ("data",),
    "x": ("data",),
    "y": ("labels",),
}

# Former names of arguments here.
FORMER = {"better": ("mode",), "figure": ("monitor",), "of": ("key",)}

# Names of arguments for things that are said in another place here.
ELSEWHERE = {
    "activation": "an activation is a layer of its own, such as add(ReLU())",
    "amsgrad": "it is an option of Adam and AdamW",
    "data_format": "pictures are always channels first: (C, H, W)",
    "device": 'regression(engine="cpu" or "cuda") says what runs a network',
    "from_logits": "end with SoftMax() or Sigmoid(); it and the cost become one stable formula",
    "in_channels": "it follows from the layer before",
    "in_features": "it follows from the layer before",
    "initial_epoch": "a further fit goes on where the last one ended",
    "input_shape": "Network.input says it, once",
    "momentum": "use the optimizer Momentum",
    "name": "a layer's name is its place in the network",
    "nesterov": "use the optimizer Nesterov",
    "num_features": "it follows from the layer before",
    "restore_best_weights": "EarlyStopping(restore_best=...), which is True here; KeepBest() does it without stopping",
}


def our_name(name: str, known: Iterable[str]) -> str | None:
    """Return the one of the `known` names that means what `name` does elsewhere, or None."""
    plain = name.lower().replace("_", "").replace(" ", "")
    names = {one.lower().replace("_", ""): one for one in known}
    meant = [table.get(plain, plain).lower().replace("_", "") for table in ({**NAMES, **VALUES}, METRICS)]
    return names.get(meant[0]) or names.get(meant[1])


def check_keywords(owner: str, given: Iterable[str], accepted: Collection[str]) -> None:
    """Raise UnknownArgumentError for the first argument that `owner` does not take; it says what ours is called."""
    for name in given:
        if name not in accepted:
            ours = next((said for said in (ARGUMENTS | FORMER).get(name, ()) if _first_word(said) in accepted), None)
            near = difflib.get_close_matches(name, accepted, n=1)
            hint = (
                f"here it is {ours}" if ours
                else ELSEWHERE.get(name)
                or (f"did you mean {near[0]}?" if near else f"it takes {', '.join(accepted) or 'no arguments'}")
            )  # fmt: skip
            raise UnknownArgumentError(f"{owner} has no argument {name!r}; {hint}")


def _first_word(said: str) -> str:
    return re.split(r"\W", said, maxsplit=1)[0]


def accepted_keywords(function: Callable[..., Any]) -> tuple[str, ...] | None:
    """Return the arguments that a method takes by name, without `self`; None where it takes any."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    if code is None:
        return ()
    if code.co_flags & 8:  # **options
        return None
    first = max(1, code.co_posonlyargcount)  # after `self`, whatever it is called: a field may have that name
    names: tuple[str, ...] = code.co_varnames[first : code.co_argcount + code.co_kwonlyargcount]
    return names


def check_count(owner: str, function: Callable[..., Any], given: int, options: Collection[str]) -> None:
    """Raise UnknownArgumentError where a method is given more arguments than it takes, or not those that it needs.

    Args:
        owner: what the error calls it.
        function: the method.
        given: arguments by place, without `self`.
        options: names of the others.
    """
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & 4:  # *arguments
        return
    names = code.co_varnames[1 : code.co_argcount]
    others = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    needed = names[: len(names) - len(function.__defaults__ or ())]
    needed += tuple(name for name in others if name not in (function.__kwdefaults__ or {}))
    missing = [name for name in needed if name not in {*names[:given], *options}]
    whole = f"{owner}({', '.join(name if name in needed else f'{name}=...' for name in (*names, *others))})"
    if given > len(names):
        count = f"{len(names) or 'no'} argument{'s' * (len(names) != 1)}"
        raise UnknownArgumentError(f"{owner} takes {count} by place, got {given}; it is {whole}")
    if missing:
        raise UnknownArgumentError(f"{owner} needs {', '.join(missing)}; it is {whole}")


class _SignatureOfInit:
    """Tells `inspect` and `help` what a class takes: Python 3.11.2 would ask its `__new__`, which takes anything."""

    def __get__(self, _: object, owner: Any) -> inspect.Signature:
        if owner.__new__ is not KeywordsChecked.__new__:
            raise AttributeError("__signature__")
        if owner.__init__ is object.__init__:
            return inspect.Signature()
        signature = inspect.signature(owner.__init__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])


class KeywordsChecked:
    """Lets the making of an object with an unknown argument, too many or too few, say what ours are."""

    __signature__ = _SignatureOfInit()

    def __new__(cls, /, *given: Any, **options: Any) -> Self:
        if options and (accepted := accepted_keywords(cls.__init__)) is not None:
            check_keywords(cls.__name__, options, accepted)
        if given or options:  # else it is a copy in the making, or Python says what is missing
            check_count(cls.__name__, cls.__init__, len(given), options)
        return super().__new__(cls)


def keywords_checked(function: Callable[P, R]) -> Callable[P, R]:
    """Let a call with an unknown argument say what ours is called."""
    owner, _, last = function.__qualname__.rpartition(".")
    accepted, name = accepted_keywords(function), owner if last == "__init__" else last

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # A call is known by the class that a user makes it of.
        known, kind = name, type(args[0]).__name__ if args else ""
        if name.startswith("Predictor."):
            known = f"{kind}.{function.__name__}"
        elif last == "__init__":
            known = kind
        if accepted is not None:
            check_keywords(known, kwargs, accepted)
        check_count(known, function, len(args) - 1, kwargs)
        return function(*args, **kwargs)

    return call
