"""Generators of what exists already: arrays, data sets with an index, and streams that can only be read in order."""

import inspect
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from itertools import islice
from typing import Any

import numpy as np

from gedanken.checks import refuse_masked, require, truth, whole
from gedanken.data.conversion import NUMBERS, as_array, refuse_sparse
from gedanken.data.generator import Generator
from gedanken.data.inputs import checked_weights
from gedanken.data.mapped import mapped_if_possible
from gedanken.data.ragged import if_ragged
from gedanken.data.workers.items import Key, Samples, entry_of, in_form
from gedanken.data.workers.tasks import running_epoch
from gedanken.errors import DataError
from gedanken.sequences import Sequences, as_padded
from gedanken.types import Array

END = object()  # what follows the last element


class ArrayGenerator(Generator):
    """Samples of arrays, one call for each, so that `shuffle` permutes samples.

    For arrays with `transforms`, or larger than memory: a `np.memmap` is read where it lies, and worker processes map
    its file again instead of getting a copy. Arrays that are neither can go to `Network.fit` as they are.

    Args:
        x: array with a first axis of samples; any object with NumPy's indexing and a shape, such as an h5py data set.
            Or a tuple or dict of such arrays, whose samples then are tuples or dicts. Each may be Sequences, or a list
            of sequences: samples are then sequences of their own length, and mini-batches have Sequences.
        y: labels, an array of the same kind and length. Without it samples are single arrays, or what x says. With it
            x, y or both may be dicts of arrays, for a network of several inputs or outputs.
        weights: (N,) or (N, places...), how much each sample or place counts, >= 0, as for `Network.fit`; a third entry
            of samples. It needs y.
        **options: of `Generator`.

    Raises:
        ArgumentError: an array has no axis of samples, no numbers, or another length than the first; weights are no
            weights.

    Example:
        >>> x, y = np.arange(6.0).reshape(3, 2), np.array([0, 1, 2])
        >>> for inputs, labels in ArrayGenerator(x, y, mini_batch_size=2):
        ...     print(inputs.tolist(), labels.tolist())
        [[0.0, 1.0], [2.0, 3.0]] [0, 1]
        [[4.0, 5.0]] [2]
    """

    def __init__(self, x: Any, y: Any = None, weights: Any = None, **options: Any) -> None:
        refuse_sparse("x", x)  # some of them are dicts
        several = isinstance(x, (tuple, dict))
        wrong = isinstance(x, tuple) and y is not None
        require(not wrong, "y", "be left out where x is a tuple of arrays", type(y).__name__)
        require(not several or len(x) > 0, "x", "have at least one array", x)
        require(weights is None or y is not None, "weights", "be left out where there is no y", type(weights).__name__)
        if isinstance(x, dict) and y is None:
            self._kind, given = "dict", {key: (f"x[{key!r}]", value) for key, value in x.items()}
        else:
            self._kind, given = _named_entries(x, y, weights)
        self._arrays = {key: _checked(name, value) for key, (name, value) in given.items()}
        (first, *others), names = self._arrays.values(), [name for name, _ in given.values()]
        self._length = int(first.shape[0])
        for name, array in zip(names[1:], others, strict=True):
            rule = f"have {self._length} samples as the first array has"
            hint = "; weights are a third argument" if isinstance(y, tuple) else ""
            require(array.shape[0] == self._length, name, rule + hint, array.shape)
        if weights is not None:
            own = as_padded(self._arrays[2])  # which places may have a weight is the network's to say
            checked_weights("weights", own, self._length, np.dtype("float64"), some=True, places=own.shape[1:])
        super().__init__(**options)
        places = {key: array.shape[1] for key, array in self._arrays.items() if isinstance(array, Sequences)}
        self.pad_to = {**places, **self.pad_to}

    def __len__(self) -> int:
        return self._length

    def get_mini_batches(self, index: int) -> list[Any]:
        """Return one sample."""
        return [in_form(self._kind, {key: _sample(array, index) for key, array in self._arrays.items()})]


class DatasetGenerator(Generator):
    """Elements of a data set that has a length and an index, one call for each: `dataset[0]`, `dataset[1]`, and so on.

    It may be a list, a PyTorch `Dataset`, a Hugging Face `Dataset`, or your own class. A tuple, list, dict, array or
    tensor is taken as it comes, so pairs such as (picture, label) need nothing more; what has strings in it, or
    pictures of different sizes, needs `to_item`.

    Args:
        dataset: has `__len__` and `__getitem__` for 0 to len - 1.
        to_item: function element -> item. It runs in the workers.
        **options: of `Generator`.

    Raises:
        ArgumentError: `dataset` has no length or no index, or `to_item` is not a function.

    Example:
        >>> rows = [{"pixels": [0, 255], "label": 1}, {"pixels": [51, 0], "label": 0}]
        >>> def pair(row):
        ...     return np.float32(row["pixels"]) / 255, row["label"]
        >>> for x, y in DatasetGenerator(rows, to_item=pair, mini_batch_size=2):
        ...     print(x.tolist(), y.tolist())
        [[0.0, 1.0], [0.20000000298023224, 0.0]] [1, 0]
    """

    def __init__(self, dataset: Any, *, to_item: Callable[[Any], Any] | None = None, **options: Any) -> None:
        refuse_sparse("dataset", dataset)
        kind = type(dataset).__name__
        require(
            not isinstance(dataset, Mapping), "dataset", "have whole numbers for an index (see ArrayGenerator)", kind
        )
        indexable = all(hasattr(dataset, name) for name in ("__len__", "__getitem__"))
        indexable &= getattr(dataset, "shape", None) != ()  # NumPy's single number has both only by name
        require(indexable, "dataset", "have a length and an index (for others: IterableGenerator)", kind)
        _check_function(to_item)
        self.dataset, self.to_item = dataset, to_item
        super().__init__(**options)

    def __len__(self) -> int:
        return len(self.dataset)

    def get_mini_batches(self, index: int) -> list[Any]:
        """Return one element as an item."""
        return [_item(self.dataset[index], self.to_item)]


class IterableGenerator(Generator):
    """Elements of an iterable that knows no index: lines of a file, a stream, a PyTorch `IterableDataset`.

    It must give the same elements in the same order each time it is begun in an epoch, because every worker reads
    one of its own, from the beginning, and steps over what others take; so does an epoch that is resumed. This is what
    keeps the stream the same for any workers, and it costs: all workers read everything, and more of them help only
    where `to_item` takes the time. Therefore it has one worker unless told otherwise, which reads while the network
    trains. What lies in several files is read faster by a Generator of yours with one call for each file.

    Args:
        iterable: an object that can be iterated again and again, or a function of the epoch's number, from 0, that
            returns an iterable; so it can have another order in each epoch. An iterator, which can be read once, is
            refused.
        length: elements of an epoch; what follows them is left out, and fewer are an error. Without it, len(iterable).
        to_item: function element -> item, as of `DatasetGenerator`. It runs in the workers.
        **options: of `Generator`, but not `shuffle`.

    Raises:
        ArgumentError: an argument breaks its rule, or `shuffle` is asked for.
        DataError: the iterable ended before `length` elements (when it does).

    Example:
        >>> def countdown(epoch):
        ...     yield from range(2 + epoch, 0, -1)
        >>> generator = IterableGenerator(countdown, length=2)
        >>> [batch.tolist() for epoch in range(2) for batch in generator]
        [[2, 1], [3, 2]]
    """

    def __init__(
        self,
        iterable: Iterable[Any] | Callable[[int], Iterable[Any]],
        length: int | None = None,
        *,
        to_item: Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> None:
        _check_iterable(iterable)
        if length is None and isinstance(iterable, Sized):
            length = len(iterable)
        require(length is not None, "length", "be given for an iterable without len()", length)
        self._length = whole("length", length, 0)
        _check_function(to_item)
        rule = "be False: an iterable has one order; a function of the epoch can give it another one in each"
        require(not truth("shuffle", options.get("shuffle", False)), "shuffle", rule, True)
        self.iterable, self.to_item = iterable, to_item
        self._cursor = _Cursor()
        super().__init__(**{"workers": 1, "threads": 1, **options})

    def __len__(self) -> int:
        return self._length

    def get_mini_batches(self, index: int) -> list[Any]:
        """Return one element as an item; those before it are read first."""
        epoch = running_epoch.get(max(self.epoch, 0))
        element = self._cursor.element(self, epoch, index)
        if element is END:
            raise DataError(f"iterable must give length={self._length} elements, got {index} or fewer")
        return [_item(element, self.to_item)]

    def begun(self, epoch: int) -> Iterator[Any]:
        """Return a new iterator over an epoch's elements."""
        if isinstance(self.iterable, Iterable):
            return iter(self.iterable)
        return iter(self.iterable(epoch))

    def close(self) -> None:
        """End the workers, and leave the iterable."""
        super().close()
        self._cursor.leave()


class _Cursor(threading.local):
    """Where this thread is in the iterable; one that is pickled is nowhere."""

    key: tuple[int, int] | None = None  # process and epoch
    place = 0  # of the next element
    elements: Iterator[Any] = iter(())

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return _Cursor, ()

    def element(self, source: IterableGenerator, epoch: int, index: int) -> Any:
        """Return element `index` of an epoch, or END."""
        key = (os.getpid(), epoch)  # a fork shares its parent's open files and must not read on in them
        if key != self.key or index < self.place:
            self.leave()
            self.elements, self.place = source.begun(epoch), 0
        try:
            element = next(islice(self.elements, index - self.place, None), END)
        except BaseException:
            self.leave()
            raise
        self.key, self.place = key, index + 1
        if element is END or self.place == len(source):
            self.leave()
        return element

    def leave(self) -> None:
        """Give the iterator up; a file or generator is closed."""
        elements, self.key, self.elements = self.elements, None, iter(())
        if hasattr(elements, "close"):
            elements.close()


def whole_entry(generator: ArrayGenerator, place: int) -> Any:
    """Return an entry of all samples as it was given, or a dict of such; None where samples have no such entry."""
    if generator._kind not in ("tuple", "nested"):
        return None
    found = entry_of(generator._arrays, place)
    return None if isinstance(found, dict) and not found else found


def _named_entries(x: Any, y: Any, weights: Any) -> tuple[str, dict[Key, tuple[str, Any]]]:
    """Return the kind of samples, and the arrays that they are taken from, with names, by their keys in a sample."""
    if isinstance(x, tuple):
        entries = [(f"x[{place}]", part) for place, part in enumerate(x)]
    else:
        entries = [("x", x), *((name, part) for name, part in (("y", y), ("weights", weights)) if part is not None)]
    found = dict[Key, tuple[str, Any]]()
    for place, (name, part) in enumerate(entries):
        if isinstance(part, dict):
            require(len(part) > 0, name, "have at least one array", part)
            found |= {(place, key): (f"{name}[{key!r}]", value) for key, value in part.items()}
        else:
            found[place] = name, part
    if any(isinstance(key, tuple) for key in found):
        return "nested", found
    return "array" if y is None and not isinstance(x, tuple) else "tuple", found


def _checked(name: str, value: Any) -> Any:
    """Return an array of numbers with a first axis, left in its file where it is in one."""
    refuse_masked(name, value)
    refuse_sparse(name, value)
    value = if_ragged(name, value)
    if isinstance(value, Sequences):
        return value
    table = hasattr(value, "iloc") or isinstance(value, memoryview)  # their index is not an array's
    if table or not (hasattr(value, "shape") and hasattr(value, "__getitem__")):
        value = as_array(name, value, NUMBERS)
    require(len(value.shape) > 0, name, "have a first axis of samples", value)
    if isinstance(value, np.ndarray):
        require(value.dtype.kind in NUMBERS, name, "be an array of numbers", str(value.dtype))
    return mapped_if_possible(value)


def _sample(array: Any, index: int) -> Array:
    """Return one sample of an array; of Sequences its real places."""
    if isinstance(array, Sequences):
        return array.values[index, : array.lengths[index]]
    return np.asarray(array[index, ...])


def _check_function(to_item: Any) -> None:
    require(to_item is None or callable(to_item), "to_item", "be a function element -> item", to_item)


def _check_iterable(iterable: Any) -> None:
    refuse_sparse("iterable", iterable)
    kind = type(iterable).__name__
    rule = "be iterable again and again; give the function that makes it, as a function of the epoch"
    require(not isinstance(iterable, Iterator), "iterable", rule, kind)
    if isinstance(iterable, np.ndarray):
        require(iterable.ndim > 0, "iterable", "have a first axis of samples", iterable)
    if isinstance(iterable, Iterable):
        return
    require(callable(iterable), "iterable", "be an iterable or a function of the epoch that returns one", kind)
    try:
        inspect.signature(iterable).bind(0)
    except TypeError:
        require(False, "iterable", "be a function of one argument, the number of the epoch", iterable)
    except ValueError:  # a function without a known signature
        return


def _item(element: Any, to_item: Callable[[Any], Any] | None) -> Any:
    """Return an element in the form of an item."""
    if to_item is not None:
        element = to_item(element)
    if isinstance(element, Samples):
        return element
    if isinstance(element, Mapping):
        return {key: _entry(value) for key, value in element.items()}
    if isinstance(element, (tuple, list)):
        return tuple([_entry(value) for value in element])
    element = _entry(element)
    refuse_masked("an element", element)
    array = np.asarray(element)
    return array if array.dtype.kind in NUMBERS else element  # the Generator says what is wrong with it


def _entry(value: Any) -> Any:
    """Return PyTorch's tensors as arrays, wherever they are, and anything else as it is."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value
