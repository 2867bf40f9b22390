"""A stand-in for CuPy over NumPy that keeps host and device apart as strictly as CuPy does.

Its arrays refuse to meet a NumPy array, to become one unasked, or to be handed to a NumPy function.
"""

from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


class DeviceArray(NDArrayOperatorsMixin):
    """An array "on the device": a NumPy array that only this module can reach."""

    __array_priority__ = 100

    def __init__(self, host: Any) -> None:
        self._host = np.asarray(host)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise TypeError(f"{function.__name__} of NumPy was called with a device array")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        kwargs = {name: _inside(value) for name, value in kwargs.items()}
        result = getattr(ufunc, method)(*map(_inside, inputs), **kwargs)
        # an operation in place must give back the array that it changed
        return inputs[0] if kwargs.get("out") is not None and len(inputs) > 1 else _outside(result)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._host, name)
        return _wrapped(value) if callable(value) else _outside(value)

    def __getitem__(self, index: Any) -> Any:
        return DeviceArray(self._host[_inside(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._host[_inside(index)] = _inside(value)

    def __len__(self) -> int:
        return len(self._host)

    def __float__(self) -> float:
        return float(self._host)

    def __bool__(self) -> bool:
        return bool(self._host)


class _Module:
    """A module of NumPy whose functions take and give device arrays."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if isinstance(value, (type, int, float, np.dtype)):
            return value
        if isinstance(value, np.ufunc):
            return _Ufunc(value)
        return _wrapped(value) if callable(value) else _Module(value)


class _Ufunc:
    def __init__(self, ufunc: Any) -> None:
        self._ufunc = ufunc
        self.at = _wrapped(ufunc.at)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _wrapped(self._ufunc)(*args, **kwargs)


class _Runtime:
    def getDeviceCount(self) -> int:
        return 1


class _Device:
    def __init__(self, number: int) -> None:
        self.number = number

    def use(self) -> None:
        assert self.number == 0


class _Cuda:
    runtime = _Runtime()
    Device = _Device


class StandInCupy(_Module):
    """Stands where `import cupy` looks."""

    cuda = _Cuda()

    def __init__(self) -> None:
        super().__init__(np)

    def asarray(self, values: Any, dtype: Any = None) -> DeviceArray:
        """Copy from the host, or pass on what is on the device."""
        host = values._host if isinstance(values, DeviceArray) else np.array(values, dtype=dtype)
        return DeviceArray(np.asarray(host, dtype=dtype))

    def asnumpy(self, array: Any) -> Any:
        """Copy to the host, or pass on what is there, as CuPy does."""
        return array._host.copy() if isinstance(array, DeviceArray) else np.asarray(array)


def _inside(value: Any) -> Any:
    if isinstance(value, DeviceArray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (tuple, list)):
        return type(value)(_inside(part) for part in value)
    return value


def _outside(value: Any) -> Any:
    if type(value) is tuple:
        return tuple(map(_outside, value))
    return DeviceArray(value) if isinstance(value, (np.ndarray, np.number, np.bool_)) else value


def _wrapped(function: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        kwargs = {name: _inside(value) for name, value in kwargs.items()}
        return _outside(function(*map(_inside, args), **kwargs))

    return call
