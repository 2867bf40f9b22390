"""A compiled network in use: its outputs, and what they say."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gedanken.by_name import ByName
from gedanken.checks import real, require, whole
from gedanken.costs import Cost
from gedanken.costs.heads import HeadsCost
from gedanken.costs.labels import ClassCost
from gedanken.costs.likeness import Overlap
from gedanken.data.input_spec import AT_ONCE, InputSpec
from gedanken.engine.plan import Plan
from gedanken.errors import StateError
from gedanken.keywords import keywords_checked
from gedanken.layers import Layer, Sigmoid, SoftMax
from gedanken.layers.shape import channels_last_shape
from gedanken.slide import slide
from gedanken.types import AnyShape, Array, Shape


class Predictor:
    """The part of a Network that is used and not changed: several threads may call it at once."""

    _plan: Plan | None
    _cost: Cost | None
    _spec: InputSpec | None
    input_shape: AnyShape  # None before `input`

    @keywords_checked
    def feedforward(self, data: Any, *, mini_batch_size: int = AT_ONCE) -> Any:
        """Return the network's outputs.

        Shapes:
            data: (N, *input shape), of several inputs a dict of such.
            result: (N, *output shape), channels first; of Heads a dict of such by name.

        Raises:
            StateError: the network is not compiled.
            DataError: data break their rule.
        """
        plan = self._compiled_plan("feedforward")
        x = self._input_spec("feedforward").inputs("data", data)
        size = whole("mini_batch_size", mini_batch_size)
        with np.errstate(all="ignore"):
            outputs = [plan.predict(x[start : start + size]) for start in range(0, len(x), size)]
        if isinstance(outputs[0], ByName):
            return {name: np.concatenate([one.parts[name] for one in outputs]) for name in outputs[0].parts}
        return np.concatenate(outputs)

    @keywords_checked
    def predict(self, data: Any, *, threshold: float | None = None, mini_batch_size: int = AT_ONCE) -> Any:
        """Return the network's answer for each sample, in the form of its targets.

            SoftMax, or a cost of one class out of several  (N,), the class with the largest output, or (N, H, W)
            Sigmoid and a cost of labels, or a cost of      (N, ...), for each output 1 where it is above the threshold,
            yes-or-no outputs; Sigmoid and (N, 1) outputs   else 0; of (N, 1) outputs (N,)
            anything else                                   (N, ...), the outputs, as `feedforward` gives them

        Costs of labels are all but those of values, such as mean_squared, and of your own.

        Args:
            data: the samples.
            threshold: probability above which an answer is yes, in [0, 1]; None is 0.5. For hinge None alone, 0.
                Of Heads it holds for all that answer yes or no.
            mini_batch_size: samples computed at once, at least 1.

        Shapes:
            data: (N, *input shape).   result: as above, int64 for classes and labels; of Heads a dict by name.

        Raises:
            StateError: the network is not compiled, or an output is NaN.
            ArgumentError: a threshold was given to a network without yes and no.
            DataError: data break their rule.
        """
        plan = self._compiled_plan("predict")
        outputs = self.feedforward(data, mini_batch_size=mini_batch_size)
        if not isinstance(outputs, dict):
            return predicted(check_numbers(outputs), plan.speaking[""], self._cost, threshold)
        heads = heads_of(plan, self._cost)
        asked = [name for name, one in heads.items() if is_yes_or_no(outputs[name].shape[1:], *one)]
        rule = "be left out, because no output is the probability of a yes"
        require(threshold is None or len(asked) > 0, "threshold", rule, threshold)
        limits = {name: threshold if name in asked else None for name in heads}
        return {name: predicted(check_numbers(outputs[name]), *one, limits[name]) for name, one in heads.items()}

    @keywords_checked
    def predict_proba(self, data: Any, *, mini_batch_size: int = AT_ONCE) -> Any:
        """Return the probability of each class or label.

            SoftMax, or a cost of one class out of several  (N, C), for pictures (N, C, H, W), the outputs
            Sigmoid and a cost of labels, or a cost of      (N, ...), the outputs: for each that it is a yes;
            yes-or-no outputs; Sigmoid and (N, 1) outputs   of (N, 1) outputs (N, 2), 1 - p for no and p for yes

        Args:
            data: the samples.
            mini_batch_size: samples computed at once, at least 1.

        Shapes:
            data: (N, *input shape).   result: as above, in [0, 1]; of Heads a dict of those that give such.

        Raises:
            StateError: the network is not compiled, its outputs are no probabilities, or one is NaN.
            DataError: data break their rule.
        """
        plan = self._compiled_plan("predict_proba")
        made = plan.shapes[-1]
        heads = heads_of(plan, self._cost) or {"": (plan.speaking[""], self._cost)}
        shapes = made if isinstance(made, Mapping) else {"": made}
        asked = [name for name, (last, cost) in heads.items() if _gives_probabilities(shapes[name], last, cost)]
        if not asked:
            raise StateError("predict_proba needs a network whose outputs are probabilities: end it with SoftMax()")
        outputs = self.feedforward(data, mini_batch_size=mini_batch_size)
        found = {name: check_numbers(outputs[name] if name else outputs) for name in asked}
        told = {n: np.concatenate([1 - y, y], axis=1) if shapes[n] == (1,) else y for n, y in found.items()}
        return told if isinstance(made, Mapping) else told[""]

    @keywords_checked
    def slide(self, image: Any, *, stride: int | tuple[int, int] = 1) -> Array:
        """Return the outputs for every patch of a larger picture, in one pass over it.

        They are what `feedforward` gives for each patch by itself, up to rounding. What patches share is computed once:
        fully connected layers become convolutions, and layers after one with a stride look at pixels further apart.

        Args:
            image: the picture or pictures, at least as large as the network's input.
            stride: pixels between two patches, at least 1, a number or a pair (vertical, horizontal).

        Shapes:
            image: (C, H2, W2) or (N, C, H2, W2), where the input is (C, H, W).
            result: (K, rows, columns) or (N, K, rows, columns); rows = floor((H2 - H) / stride) + 1.

        Raises:
            StateError: the network is not compiled.
            ArgumentError: the stride breaks its rule, or a layer cannot slide: one with zero padding, one that looks at
                a whole patch such as LayerNorm, or one of yours before Flatten.
            DataError: image breaks its rule.
        """
        plan = self._compiled_plan("slide")
        assert self.input_shape is not None
        return slide(plan, self.input_shape, image, stride)

    def _compiled_plan(self, call: str) -> Plan:
        if self._plan is None:
            raise not_compiled(call)
        return self._plan

    def _input_spec(self, call: str) -> InputSpec:
        if self._spec is None:
            raise not_compiled(call)
        return self._spec


def not_compiled(call: str) -> StateError:
    """Return the error of a call that came before `regression`."""
    return StateError(f"{call} needs a compiled network: call regression(optimizer, cost) before it")


def heads_of(plan: Plan, cost: Cost | None) -> dict[str, tuple[Layer, Cost | None]]:
    """Return what says what outputs mean, a layer and a cost, of each head by its name; nothing where there is one."""
    if not isinstance(plan.shapes[-1], Mapping):
        return {}
    costs = cost.costs if isinstance(cost, HeadsCost) else {}
    return {name: (last, costs.get(name)) for name, last in plan.speaking.items()}


def is_yes_or_no(shape: Shape, last: Layer, cost: Cost | None) -> bool:
    """Say whether each output tells of a yes, as its probability or, with hinge, its score.

    Args:
        shape: of one output, channels first.
        last: the layer that says what outputs mean, see `Plan.speaking`.
        cost: what the network was trained with, or None.
    """
    if cost is not None and cost.yes_above is not None:
        return True
    of_labels = cost is not None and cost.classifies and not _names_one(cost)
    return isinstance(last, Sigmoid) and (of_labels or shape == (1,))


def _names_one(cost: Cost | None) -> bool:
    """Say whether a cost is of one class out of several; that of regions takes each by itself."""
    return isinstance(cost, ClassCost) and not isinstance(cost, Overlap)


def _has_classes(shape: Shape, last: Layer, cost: Cost | None) -> bool:
    of_classes = isinstance(last, SoftMax) and last.of_channels(channels_last_shape(shape))
    return of_classes or _names_one(cost)


def _gives_probabilities(shape: Shape, last: Layer, cost: Cost | None) -> bool:
    scores = cost is not None and cost.takes_scores
    return not scores and (isinstance(last, SoftMax) or _names_one(cost) or is_yes_or_no(shape, last, cost))


def predicted(outputs: Array, last: Layer, cost: Cost | None, threshold: float | None) -> Array:
    """Return classes, labels or values; see `Network.predict`.

    Args:
        outputs: (N, *output shape), channels first.
        last, cost: as for `is_yes_or_no`.
        threshold: in [0, 1], or None for 0.5.
    """
    if is_yes_or_no(outputs.shape[1:], last, cost):
        scores = cost is not None and cost.takes_scores
        require(
            threshold is None or not scores, "threshold", "be left out for hinge: no output is a probability", threshold
        )
        limit = (0.0 if scores else 0.5) if threshold is None else real("threshold", threshold, "[0, 1]")
        answers = (outputs > limit).astype(np.int64)
        return answers[:, 0] if outputs.shape[1:] == (1,) else answers
    require(threshold is None, "threshold", "be left out, because no output is the probability of a yes", threshold)
    if _has_classes(outputs.shape[1:], last, cost):
        return outputs.argmax(axis=1 if outputs.ndim == 4 else -1)
    return outputs


def check_numbers(outputs: Array) -> Array:
    """Return the outputs, or raise StateError where one is NaN.

    Args:
        outputs: (N, ...).
    """
    wrong = np.flatnonzero(np.isnan(outputs).reshape(len(outputs), -1).any(axis=1))
    if wrong.size:
        raise StateError(
            f"the outputs of {wrong.size} of {len(outputs)} samples are NaN, first of sample {wrong[0]}: weights or "
            "activations are too large; train it again with a lower learning rate"
        )
    return outputs
