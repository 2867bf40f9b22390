"""A network that goes on from what it, or another one, has learnt: frozen layers, rates of their own, a new head."""

from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple, Self, TypeAlias

from gedanken.alone import alone
from gedanken.building import Builder
from gedanken.checks import real, require
from gedanken.compiled import Compiled
from gedanken.data.conversion import finite_in
from gedanken.engine.plan import Plan
from gedanken.engine.tuning import Tuning
from gedanken.errors import ArgumentError, GradientError, ShapeError
from gedanken.keywords import keywords_checked
from gedanken.layers import Layer
from gedanken.layers.containers import checked_layers, placed
from gedanken.layers.gradient_check import checked_gradients
from gedanken.layers.shape import channels_last_shape, each_shape
from gedanken.layers.stages import leaf_stages
from gedanken.state import State, part, prefixed
from gedanken.training.records import Unfreeze
from gedanken.types import Array
from gedanken.weights import checked_arrays

Which: TypeAlias = int | str | slice  # a layer's position, its name, or a slice of positions


class TakenLayer(NamedTuple):
    """What became of one layer when weights were taken from another network.

    Args:
        layer: it, with its place.
        source: the layer that it was compared with; "" where there is none.
        taken: whether its weights are those of the source now.
        why: what did not fit; "" for one that was taken.
    """

    layer: str
    source: str
    taken: bool
    why: str = ""

    def __str__(self) -> str:
        return f"{self.layer}: {f'taken from {self.source}' if self.taken else f'left, {self.why}'}"


class TakenWeights(NamedTuple):
    """What fitted when weights were taken from another network; `str` of it is a line for each layer with weights."""

    layers: tuple[TakenLayer, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.layers))

    def __repr__(self) -> str:
        return str(self)


class FineTuning(Compiled):
    """The part of a Network that says which of its layers learn, and from what they start."""

    @alone
    @keywords_checked
    def freeze(self, *layers: Which) -> Self:
        """Let layers learn no more: no update and no weight decay changes them.

        A frozen layer runs as at prediction in training too: its BatchNorm uses and keeps its running statistics, its
        Dropout passes everything on. Of the first layers, up to the first one that learns, no gradients are computed.

        Args:
            layers: positions (negative ones count from the end), names or slices of positions; none is all layers. A
                container is frozen with all that is in it.

        Returns:
            the network; whatever it has learnt, the optimizer's memory too, stays.

        Raises:
            ArgumentError: there is no such layer.
            GradientError: a layer of your own, behind one that learns, has no right gradient of a pass at prediction.
            StateError: the network is being trained.
        """
        self._tune(self._tuning.with_frozen(self._chosen("freeze", layers), frozen=True))
        return self

    @alone
    @keywords_checked
    def unfreeze(self, *layers: Which) -> Self:
        """Let frozen layers learn again; arguments and errors are those of `freeze`.

        The optimizer's moving means start afresh, for all layers: of those that were frozen it has none, or old ones.
        """
        self._tune(self._tuning.with_frozen(self._chosen("unfreeze", layers), frozen=False))
        return self

    @alone
    @keywords_checked
    def scale_rate(self, factor: float, *layers: Which) -> Self:
        """Let layers learn at `factor` times the optimizer's learning rate; a later call takes the place of it.

        Weight decay that an optimizer multiplies by its rate goes with it.

        Args:
            factor: > 0; 1 is the optimizer's own rate.
            layers: as for `freeze`.

        Raises:
            ArgumentError: the factor is not in (0, inf), or there is no such layer.
            StateError: the network is being trained.
        """
        number = real("scale_rate factor", factor, "(0, inf)")
        self._tune(self._tuning.with_rate(self._chosen("scale_rate", layers), number))
        return self

    @property
    def frozen(self) -> tuple[int, ...]:
        """Positions of the layers that do not learn."""
        return self._tuning.frozen

    @property
    def rate_factors(self) -> dict[int, float]:
        """What `scale_rate` said, by the layers' positions."""
        return dict(self._tuning.rates)

    @alone
    @keywords_checked
    def take(self, other: "FineTuning", layers: Which | Sequence[Which] | None = None) -> TakenWeights:
        """Take the weights, and running statistics, of another network's layers.

        A layer takes those of the layer with its name or, where it has none or the other network has no such name, of
        the one at its position. Nothing is taken of one whose arrays have other names or shapes. The optimizer's
        moving means start afresh.

        Args:
            other: a compiled network.
            layers: positions, names or slices of this network's layers that have to fit; None is all that do.

        Returns:
            what fitted, a line for each layer with weights.

        Raises:
            ArgumentError: no layer fits, or one of those that were asked for does not; nothing was changed.
            StateError: one of the networks is not compiled, or this one is being trained.
        """
        plan = self._compiled_plan("take")
        require(isinstance(other, FineTuning), "take other", "be a Network", other)
        source = other._compiled_plan("take")
        wanted = layers if isinstance(layers, (list, tuple)) else None if layers is None else (layers,)
        require(wanted is None or len(wanted) > 0, "take layers", "name a layer, or be None for all", layers)
        positions = self._chosen("take layers", wanted or ())
        own, theirs = plan.state(), source.state()
        found = [self._compared(place, other, own, theirs) for place in positions]
        rows = [row for row in found if row]
        missed = [row for row, _ in rows if not row.taken]
        if not any(row.taken for row, _ in rows) or (wanted is not None and missed):
            told = "; ".join(map(str, missed or [row for row, _ in rows])) or "none of them has weights"
            raise ArgumentError(f"take must find layers that fit in the other network, got: {told}")
        arrays = {name: array for _, arrays in rows for name, array in arrays.items()}
        given = {name: finite_in(f"take other {name}", array, plan.ops.dtype) for name, array in arrays.items()}
        self._overwrite(plan, given)
        return TakenWeights(tuple(row for row, _ in rows))

    def arrays(self) -> dict[str, Array]:
        """Return copies of all that layers have learnt, weights and running statistics, by name and on the host.

        Names are those in model files: the layer's place as in `summary()`, and what it is there, such as "0.kernel",
        "1.mean" or, in a container, "5.layers.0.kernel". What other libraries call them, and in which order their axes
        are, says docs/coming-from.md.

        Raises:
            StateError: the network is not compiled.
        """
        plan = self._compiled_plan("arrays")
        state = plan.state()
        places = [f"{stage.path}.{name}" for stage in leaf_stages(plan.layers) for name in (*stage.p, *stage.s)]
        return {name: state[name] for name in places}

    @alone
    @keywords_checked
    def set_arrays(self, arrays: Mapping[str, Any]) -> Self:
        """Set weights and running statistics, all or none; those that are not named stay.

        The optimizer's moving means start afresh, as by `take`; frozen layers are set too.

        Args:
            arrays: arrays by their names, in names and shapes as `arrays` gives them.

        Returns:
            the network.

        Raises:
            ArgumentError, DataError: there is no such array, or one has another shape or a number that is not finite;
                nothing was changed.
            StateError: the network is not compiled, or is being trained.
        """
        plan = self._compiled_plan("set_arrays")
        own = plan.arrays()
        given = checked_arrays(arrays, {name: own[name].shape for name in self.arrays()}, plan.ops.dtype)
        self._overwrite(plan, given)
        return self

    @alone
    @keywords_checked
    def replace(self, which: Which, *layers: Layer) -> Self:
        """Put other layers in the place of some; all others keep their weights.

        The head of a network for another task: `net.replace(slice(-2, None), FullyConnectedLayer(5), SoftMax())`. Call
        `regression` after it: cost, optimizer and class names are gone, and with another first layer the vocabulary. As
        many layers as there were keep their names.

        Args:
            which: a position, a name or a slice of positions.
            layers: the new ones, with first weights; none takes the old ones out.

        Raises:
            ArgumentError: there is no such layer, none would be left, or one behind the new ones would need other
                weights; nothing was changed.
            ShapeError: the layers do not fit.
            StateError: the network is being trained.
        """
        gone = self._chosen("replace", (which,))
        fresh = checked_layers("replace layers", layers)
        first, after = gone[0], len(self.layers) - gone[-1] - 1
        require(gone == [*range(first, gone[-1] + 1)], "replace which", "be layers beside each other", which)
        made = (*self.layers[:first], *fresh, *self.layers[len(self.layers) - after :])
        require(len(made) > 0, "replace layers", "leave at least one layer", layers)
        moved = dict(enumerate(range(first)))
        moved |= {len(self.layers) - back: len(made) - back for back in range(1, after + 1)}
        if self.input_shape is not None:
            placed(made, each_shape(channels_last_shape, self.input_shape))
        plan = self._with_layers(made, moved)
        names: list[str | None] = [None] * len(made)
        for old, new in {**moved, **(dict(zip(gone, gone, strict=True)) if len(fresh) == len(gone) else {})}.items():
            names[new] = self.layer_names[old]
        before = self.layers[0]
        self._layers, self._names, self._tuning = made, tuple(names), self._tuning.moved(moved.get)
        self._gradients = None
        if made[0] != before:
            self._vocabulary = None
        if plan:
            self.class_names = None
            self._take(plan, None, None)
        return self

    def thaw(self, answer: Unfreeze) -> Tuning:
        """Note that a training unfreezes layers, which itself makes them learn; return who learns now."""
        right = isinstance(answer.layers, tuple) and len(answer.layers) > 0
        right = right and all(isinstance(one, (int, str)) for one in answer.layers)
        require(right, "Unfreeze layers", "be a tuple of positions or names", answer.layers)
        self._tuning = self._tuning.with_frozen(self._chosen("Unfreeze", answer.layers), frozen=False)
        return self._tuning

    # ------------------------------------------------------------------ inside

    def _overwrite(self, plan: Plan, given: State) -> None:
        """Set some arrays, which fit; what the optimizer remembers is of others."""
        plan.restore({**plan.state(), **given})
        if self._train_state:
            rule = self._train_state.optimizer_state
            rule.start_afresh(rule.updates)

    def _tune(self, tuning: Tuning) -> None:
        if tuning != self._tuning and self._plan:
            known = self._train_state or self._plan
            known.retune(tuning)
            try:
                self._gradients = checked_gradients(self._plan.layers)
            except GradientError:
                known.retune(self._tuning)
                raise
        self._tuning = tuning

    def _chosen(self, call: str, which: Sequence[Which]) -> list[int]:
        """Return positions of layers, in order, of lists of them too, or raise ArgumentError."""
        count = len(self.layers)
        if not which:
            return [*range(count)]
        found: set[int] = set()
        for one in _flat(which):
            if isinstance(one, slice):
                try:
                    some = range(count)[one]
                except (TypeError, ValueError):
                    raise ArgumentError(f"{call} must be given slices of positions, got {one}") from None
                require(len(some) > 0, call, f"name layers among the {count} that there are", one)
                found |= {*some}
            elif isinstance(one, str):
                require(one in self.layer_names, call, f"name one of {[*filter(None, self.layer_names)]}", one)
                found.add(self.layer_names.index(one))
            else:
                rule = f"be a position among the {count} layers, a name or a slice"
                right = isinstance(one, Integral) and not isinstance(one, bool) and -count <= int(one) < count
                require(right, call, rule, one)
                found.add(int(one) % count)
        return sorted(found)

    def _compared(self, place: int, other: "FineTuning", own: State, theirs: State) -> tuple[TakenLayer, State] | None:
        """Return what can be taken for a layer, and the arrays; None for one without any."""
        needed = part(str(place), own)
        if not needed:
            return None
        name = self.layer_names[place]
        source = other.layer_names.index(name) if name and name in other.layer_names else place
        told = _told(self, place)
        if source >= len(other.layers):
            return TakenLayer(told, "", False, f"the other network has {len(other.layers)} layers"), {}
        there, arrays = _told(other, source), part(str(source), theirs)
        shapes, given = ({key: array.shape for key, array in one.items()} for one in (needed, arrays))
        if shapes != given:
            key = min(shapes.items() ^ given.items())[0]
            why = f"{key} is {given.get(key, 'missing')} in {there} and {shapes.get(key, 'missing')} here"
            return TakenLayer(told, there, False, why), {}
        return TakenLayer(told, there, True), prefixed(str(place), arrays)

    def _with_layers(self, made: tuple[Layer, ...], moved: dict[int, int]) -> Plan | None:
        """Return a plan of other layers, of which some have weights already; None where nothing is compiled."""
        if self._plan is None:
            return None
        plan = Plan(
            made, self._known_input("replace"), self._plan.engine, self.seed, None, None, self._tuning.moved(moved.get)
        )
        plan.initialise()
        arrays, kept = plan.state(), self._plan.state()
        for old, new in moved.items():
            for key, array in part(str(old), kept).items():
                name = f"{new}.{key}"
                if name not in arrays or arrays[name].shape != array.shape:
                    needs = arrays[name].shape if name in arrays else "none"
                    raise ShapeError(
                        f"replace must leave {_told(self, old)} its weights, got {key} {needs} for {array.shape}",
                        "replace that layer too",
                    )
                arrays[name] = array
        plan.restore(arrays)
        return plan


def _flat(which: Sequence[Any]) -> Iterator[Any]:
    for one in which:
        if isinstance(one, (list, tuple)):
            yield from one
        else:
            yield one


def _told(net: Builder, place: int) -> str:
    name = net.layer_names[place]
    return f"layer {place} {f'{name!r} ' if name else ''}{net.layers[place]}"
