"""What runs a network, by name or by object, and from there to the engine itself."""

import functools
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, ParamSpec, TypeVar

import numpy as np

from gedanken.checks import one_of, require, whole
from gedanken.engine.base import Engine
from gedanken.engine.cuda import cuda_engine
from gedanken.errors import EngineError
from gedanken.hyperparameters import Hyperparameters
from gedanken.ops import Ops
from gedanken.processes.uncut import UNCUT

P = ParamSpec("P")
R = TypeVar("R")

PRECISIONS = ("full", "bf16")
MOST_THREADS = 1024


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EngineChoice(Hyperparameters, ABC):
    """What runs a network: `Auto`, `Cpu`, `Numpy` or `Cuda`. A description only; `regression` starts the engine.

    Args:
        dtype: of all numbers, "float32" or "float64".

    Raises:
        ArgumentError: an argument breaks its rule.
    """

    name: ClassVar[str]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", _name_of(self.dtype))
        one_of("dtype", self.dtype, ("float32", "float64"))

    @abstractmethod
    def start(self) -> Engine:
        """Return the engine; its `reason` says why it was chosen.

        Raises:
            EngineError: it cannot run on this machine.
        """


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Cpu(EngineChoice):
    """The engine of compiled kernels.

    Args:
        dtype: of all numbers, "float32" or "float64".
        threads: how many compute, 1 to 1,024; None is one for each processor that this process may use. The results are
            the same for any number.
        precision: of the products in convolutions and fully connected layers, both ways: "full" is `dtype`; "bf16"
            rounds both factors to 8 bits of digits and sums in float32, on x86 processors with AMX. Parameters,
            activations and optimizer stay float32.

    Raises:
        ArgumentError: an argument breaks its rule, or bf16 is asked for with float64.

    Example:
        >>> net = Network(seed=1).input((4,)).add(FullyConnectedLayer(3)).add(SoftMax())
        >>> net.regression("adam", engine=Cpu(threads=1, dtype="float64")).feedforward([[1, 2, 3, 4]]).dtype
        dtype('float64')
    """

    name = "cpu"
    threads: int | None = None
    precision: str = "full"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threads is not None:
            whole("threads", self.threads, at_most=MOST_THREADS)
        one_of("precision", self.precision, PRECISIONS)
        rule = 'be "float32" with precision "bf16", whose sums are float32'
        require(self.precision == "full" or self.dtype == "float32", "dtype", rule, self.dtype)

    def start(self) -> Engine:
        return self._compiled("asked for")

    def _compiled(self, reason: str) -> Engine:
        return _cpu_engine()(reason, self.dtype, self.threads, self.precision)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Auto(Cpu):
    """The fastest engine that always works here: `Cpu`, or `Numpy` where that one cannot run and bf16 is not asked for.

    Args:
        dtype, threads, precision: as of `Cpu`.
    """

    name = "auto"

    def start(self) -> Engine:
        try:
            return self._compiled("auto")
        except EngineError as error:
            if self.precision == "bf16":
                raise
            return Engine("numpy", Ops(dtype=self.dtype), f"auto: {error}")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Numpy(EngineChoice):
    """The specification: every layer's own `forward` and `backward`, on NumPy arrays."""

    name = "numpy"

    def start(self) -> Engine:
        return Engine("numpy", Ops(dtype=self.dtype), "asked for")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Cuda(EngineChoice):
    """The specification on CuPy arrays, which an NVIDIA GPU computes with.

    Args:
        dtype: of all numbers, "float32" or "float64".
        device: number of the GPU, from 0 on. It becomes CuPy's current device of the thread that calls `regression`;
            use the network in that thread.
    """

    name = "cuda"
    device: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("device", self.device, at_least=0)

    def start(self) -> Engine:
        return cuda_engine(self.dtype, self.device)


def _name_of(dtype: Any) -> Any:
    """Return the name of NumPy's number type, np.float64 for one; anything else stays as it is."""
    known = isinstance(dtype, np.dtype) or (isinstance(dtype, type) and issubclass(dtype, np.generic))
    return np.dtype(dtype).name if known else dtype


CHOICES: dict[str, type[EngineChoice]] = {kind.name: kind for kind in (Auto, Cpu, Numpy, Cuda)}
ENGINES = tuple(CHOICES)


def engine_choice(engine: object, **options: Any) -> EngineChoice:
    """Return what an engine's name stands for, with these options; an object stands for itself and has its own.

    Raises:
        ArgumentError: unknown name, not an engine, or an option that this engine does not have.
    """
    if isinstance(engine, EngineChoice):
        name, value = next(iter(options.items()), ("", None))
        require(not options, name, f"be said in the engine itself: {type(engine).__name__}({name}=...)", value)
        return engine
    made = isinstance(engine, type) and issubclass(engine, EngineChoice)
    require(not made, "engine", "be a name or an object, such as Cpu()", engine)
    kind = CHOICES[one_of("engine", engine, ENGINES)]
    if not issubclass(kind, Cpu):
        precision, threads = options.pop("precision", "full"), options.pop("threads", None)
        one_of("precision", precision, PRECISIONS)
        require(precision == "full", "engine", 'be "cpu" or "auto" with precision "bf16"', engine)
        require(threads is None, "threads", f'be None with engine "{engine}", which has none of its own', threads)
    return kind(**options)


def select_engine(name: str, dtype: str = "float32", threads: int | None = None, precision: str = "full") -> Engine:
    """Return the engine of this name and these options, started."""
    return engine_choice(name, dtype=dtype, threads=threads, precision=precision).start()


def _cpu_engine() -> Callable[[str, str, int | None, str], Engine]:
    """Return the engine's class; its compiler is loaded when a network is first compiled, not with the library."""
    try:
        with UNCUT:  # a fork during an import would leave the module locked
            module = importlib.import_module("gedanken.engine.cpu.engine")
    except (ImportError, OSError) as error:
        raise EngineError(f'engine "cpu" needs llvmlite ({error}); install it, or use engine="numpy"') from error
    found: Callable[[str, str, int | None, str], Engine] = module.CpuEngine
    return found


def former_options(method: Callable[P, R]) -> Callable[P, R]:
    """Let the former arguments `dtype`, `threads` and `precision` still say what they said, beside an engine's name."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given: dict[str, Any] = kwargs
        options = {name: given.pop(name) for name in ("dtype", "threads", "precision") if name in given}
        if options:
            given["engine"] = engine_choice(given.get("engine", "auto"), **options)
        return method(*args, **given)

    return call
