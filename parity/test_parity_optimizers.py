"""Every optimizer and schedule against PyTorch: the weights after ten steps on the same data from the same start."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import ENGINE, Theirs, assert_agree, network_arrays
from torch import Tensor, optim
from torch.optim import lr_scheduler

import gedanken
from gedanken import (
    SGD,
    AdaDelta,
    Adafactor,
    AdaGrad,
    Adam,
    AdaMax,
    AdamW,
    BatchNorm,
    ConstantRate,
    ConvolutionLayer,
    CosineDecay,
    CosineRestarts,
    CyclicRate,
    ExponentialDecay,
    Flatten,
    FullyConnectedLayer,
    InverseDecay,
    Lamb,
    LinearRate,
    Lion,
    MilestoneDecay,
    Momentum,
    Muon,
    NAdam,
    Nesterov,
    Network,
    OneCycle,
    OnPlateau,
    Optimizer,
    PolynomialDecay,
    RAdam,
    RateProduct,
    RateSequence,
    ReLU,
    RMSProp,
    Rprop,
    Schedule,
    SoftMax,
    StepDecay,
    WarmUp,
)


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    """Let PyTorch keep its own numbers in float64: NAdam's product of momenta is of the default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


STEPS, BATCH = 10, 8
SAMPLES = STEPS * BATCH - 3  # the last mini-batch is smaller
SHAPE = (2, 6, 5)
BODY = [
    ConvolutionLayer(3, 3, 3, bias=False),
    BatchNorm(),
    ReLU(),
    Flatten(),
    FullyConnectedLayer(6),
    ReLU(),
    FullyConnectedLayer(4),
]


class PaperLion(optim.Optimizer):
    """Chen et al. 2023, algorithm 2, line by line; PyTorch has none."""

    def __init__(self, params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for theta in group["params"]:
                m = self.state[theta].get("m", torch.zeros_like(theta))
                c = beta1 * m + (1 - beta1) * theta.grad
                eta, decay = group["lr"], group["weight_decay"]
                theta.copy_(theta - eta * (torch.sign(c) + decay * theta))
                self.state[theta]["m"] = beta2 * m + (1 - beta2) * theta.grad


class PaperLamb(optim.Optimizer):
    """You et al. 2019, algorithm 2, line by line; PyTorch has none."""

    def __init__(self, params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for x in group["params"]:
                kept = self.state[x]
                kept["t"] = t = kept.get("t", 0) + 1
                kept["m"] = m = beta1 * kept.get("m", torch.zeros_like(x)) + (1 - beta1) * x.grad
                kept["v"] = v = beta2 * kept.get("v", torch.zeros_like(x)) + (1 - beta2) * x.grad**2
                r = (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + 1e-6)
                step = r + group["weight_decay"] * x
                trust = x.norm() / step.norm() if x.any() and step.any() else 1.0
                x.copy_(x - group["lr"] * trust * step)


class MatrixAdafactor(optim.Optimizer):
    """PyTorch's Adafactor for arrays whose axes but the last are one; its own takes each window by itself."""

    def __init__(self, params: Any, lr: float, **options: Any):
        super().__init__(params, {"lr": lr})
        self.pairs, self.parts = [], []
        for group in self.param_groups:
            pairs = [(one, one.detach().reshape(-1, *one.shape[-1:]).squeeze(0).clone()) for one in group["params"]]
            self.pairs += pairs
            if pairs:
                decay = group["weight_decay"]
                self.parts.append(optim.Adafactor([flat for _, flat in pairs], lr, weight_decay=decay, **options))

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for one, flat in self.pairs:
            flat.grad = one.grad.reshape(flat.shape)
        for part in self.parts:
            part.step()
        for one, flat in self.pairs:
            one.copy_(flat.reshape(one.shape))


class MuonOrAdamW(optim.Optimizer):
    """PyTorch's Muon for kernels, as matrices (outputs, inputs), and its AdamW for the rest.

    PyTorch orthogonalises in bfloat16; here the same code does it in the type of the gradient.
    """

    def __init__(self, params: Any, lr: float, **options: Any):
        super().__init__(params, {"lr": lr})
        adamw = {"betas": options.pop("betas", (0.9, 0.999))}
        self.kernels, self.parts = [], []
        for group in self.param_groups:
            for one in group["params"]:
                if one.dim() == 1:
                    self.parts.append(optim.AdamW([one], lr, weight_decay=group["weight_decay"], **adamw))
                    continue
                matrix = one.detach().reshape(-1, one.shape[-1]).T.contiguous()
                self.kernels.append((one, matrix))
                self.parts.append(optim.Muon([matrix], lr, weight_decay=group["weight_decay"], **options))

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for one, matrix in self.kernels:
            matrix.grad = one.grad.reshape(-1, one.shape[-1]).T.contiguous()
        with mock.patch.object(Tensor, "bfloat16", Tensor.clone):
            for part in self.parts:
                part.step()
        for one, matrix in self.kernels:
            one.copy_(matrix.T.reshape(one.shape))


class Row(NamedTuple):
    """Our optimizer, PyTorch's, and a schedule for PyTorch's; weight decay is read off ours."""

    ours: Optimizer
    theirs: Callable[..., optim.Optimizer]
    options: dict[str, Any]
    schedule: Callable[[optim.Optimizer], Any] | None = None


MOMENTUM = {"lr": 0.1, "momentum": 0.8}
RULES = [
    Row(SGD(0.1), optim.SGD, {"lr": 0.1}),
    Row(SGD(0.1, weight_decay=0.3), optim.SGD, {"lr": 0.1}),
    Row(Momentum(0.1, momentum=0.8), optim.SGD, MOMENTUM),
    Row(Momentum(0.1, momentum=0.8, weight_decay=0.3), optim.SGD, MOMENTUM),
    Row(Nesterov(0.1, momentum=0.8), optim.SGD, {**MOMENTUM, "nesterov": True}),
    Row(Nesterov(0.1, momentum=0.8, weight_decay=0.3), optim.SGD, {**MOMENTUM, "nesterov": True}),
    Row(Momentum(0.1, momentum=0.8, dampening=0.3), optim.SGD, {**MOMENTUM, "dampening": 0.3}),
    Row(Momentum(0.1, momentum=0.8, weight_decay=0.3, decayed="all"), optim.SGD, MOMENTUM),
    Row(AdaGrad(0.1), optim.Adagrad, {"lr": 0.1}),
    Row(AdaGrad(0.1, epsilon=0.01), optim.Adagrad, {"lr": 0.1, "eps": 0.01}),
    Row(AdaGrad(0.1, weight_decay=0.3), optim.Adagrad, {"lr": 0.1}),
    Row(
        AdaGrad(0.1, start=0.2, rate_decay=0.3),
        optim.Adagrad,
        {"lr": 0.1, "initial_accumulator_value": 0.2, "lr_decay": 0.3},
    ),
    Row(RMSProp(0.01), optim.RMSprop, {"lr": 0.01, "alpha": 0.9}),
    Row(RMSProp(0.01, decay=0.6, epsilon=0.01), optim.RMSprop, {"lr": 0.01, "alpha": 0.6, "eps": 0.01}),
    Row(RMSProp(0.01, momentum=0.7), optim.RMSprop, {"lr": 0.01, "alpha": 0.9, "momentum": 0.7}),
    Row(
        RMSProp(0.001, centred=True, epsilon=1e-4),
        optim.RMSprop,
        {"lr": 0.001, "alpha": 0.9, "eps": 1e-4, "centered": True},
    ),
    Row(
        RMSProp(0.001, centred=True, momentum=0.7, epsilon=1e-4, weight_decay=0.3, decayed="all"),
        optim.RMSprop,
        {"lr": 0.001, "alpha": 0.9, "eps": 1e-4, "centered": True, "momentum": 0.7},
    ),
    Row(AdaDelta(), optim.Adadelta, {"lr": 1.0}),
    Row(AdaDelta(0.5, decay=0.6, epsilon=0.01, weight_decay=0.3), optim.Adadelta, {"lr": 0.5, "rho": 0.6, "eps": 0.01}),
    Row(Adam(0.01), optim.Adam, {"lr": 0.01}),
    Row(Adam(0.01, weight_decay=0.3), optim.Adam, {"lr": 0.01}),
    Row(Adam(0.01, weight_decay=0.3, decayed="all", amsgrad=True), optim.Adam, {"lr": 0.01, "amsgrad": True}),
    Row(Adam(0.01, weight_decay=0.3, decayed=("4.*", "1.scale")), optim.Adam, {"lr": 0.01}),
    Row(Adam(0.01, beta1=0.5, beta2=0.8, epsilon=0.01), optim.Adam, {"lr": 0.01, "betas": (0.5, 0.8), "eps": 0.01}),
    Row(AdamW(0.01), optim.AdamW, {"lr": 0.01}),
    Row(AdamW(0.01, weight_decay=0.5, beta1=0.5), optim.AdamW, {"lr": 0.01, "betas": (0.5, 0.999)}),
    Row(AdamW(0.01, weight_decay=0.5, decayed="all", amsgrad=True), optim.AdamW, {"lr": 0.01, "amsgrad": True}),
    Row(AdaMax(0.01), optim.Adamax, {"lr": 0.01}),
    Row(AdaMax(0.01, weight_decay=0.3, beta1=0.5, beta2=0.8), optim.Adamax, {"lr": 0.01, "betas": (0.5, 0.8)}),
    Row(NAdam(0.01), optim.NAdam, {"lr": 0.01}),
    Row(NAdam(0.01, weight_decay=0.3, beta1=0.6), optim.NAdam, {"lr": 0.01, "betas": (0.6, 0.999)}),
    Row(
        NAdam(0.01, weight_decay=0.3, decoupled=True, momentum_decay=0.1),
        optim.NAdam,
        {"lr": 0.01, "momentum_decay": 0.1, "decoupled_weight_decay": True},
    ),
    Row(Rprop(0.01), optim.Rprop, {"lr": 0.01}),
    Row(
        Rprop(0.1, shrink=0.3, grow=1.5, lowest=0.2, highest=3.0),
        optim.Rprop,
        {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.02, 0.3)},
    ),
    Row(RAdam(0.01), optim.RAdam, {"lr": 0.01}),
    Row(RAdam(0.01, weight_decay=0.3, beta2=0.9), optim.RAdam, {"lr": 0.01, "betas": (0.9, 0.9)}),
    Row(RAdam(0.01, weight_decay=0.3, decoupled=True), optim.RAdam, {"lr": 0.01, "decoupled_weight_decay": True}),
    Row(Muon(0.01), MuonOrAdamW, {"lr": 0.01, "adjust_lr_fn": "match_rms_adamw"}),
    Row(
        Muon(0.01, weight_decay=0.3, decayed="all", scale="shape", nesterov=False, momentum=0.8, steps=3, beta2=0.9),
        MuonOrAdamW,
        {"lr": 0.01, "nesterov": False, "momentum": 0.8, "ns_steps": 3, "betas": (0.9, 0.9)},
    ),
    Row(Adafactor(), MatrixAdafactor, {"lr": 0.01}),
    Row(Adafactor(0.2, weight_decay=0.3), MatrixAdafactor, {"lr": 0.2}),
    Row(
        Adafactor(0.5, power=0.5, least=0.1, longest=1.5, weight_decay=0.1, decayed="all"),
        MatrixAdafactor,
        {"lr": 0.5, "beta2_decay": -0.5, "eps": (None, 0.1), "d": 1.5},
    ),
    Row(Lamb(0.01), PaperLamb, {"lr": 0.01}),
    Row(Lamb(0.01, beta1=0.5, beta2=0.8, weight_decay=0.3), PaperLamb, {"lr": 0.01, "betas": (0.5, 0.8)}),
    Row(Lamb(0.01, weight_decay=0.3, decayed="all"), PaperLamb, {"lr": 0.01}),
    Row(Lion(0.01), PaperLion, {"lr": 0.01}),
    Row(Lion(0.01, weight_decay=0.5, beta1=0.8, beta2=0.95), PaperLion, {"lr": 0.01, "betas": (0.8, 0.95)}),
]
HANDLING = [
    {"clip_norm": 0.2},
    {"clip_norm": 1e6},
    {"clip_value": 0.02},
    {"clip_value": 0.02, "clip_norm": 0.1},
    {"accumulate": 3},
    {"accumulate": 4, "clip_norm": 0.2},
    {"accumulate": STEPS},
]


def sgd(schedule: Schedule, theirs: Callable[[optim.Optimizer], Any], lr: float = 0.2) -> Row:
    return Row(SGD(schedule), optim.SGD, {"lr": lr}, theirs)


def warm_up_then_cosine(o: optim.Optimizer) -> Any:
    parts = [lr_scheduler.LinearLR(o, 1 / 4, 1, total_iters=3), lr_scheduler.CosineAnnealingLR(o, 6, 0.01)]
    return lr_scheduler.SequentialLR(o, parts, milestones=[4])


def one_cycle(o: optim.Optimizer) -> Any:
    return lr_scheduler.OneCycleLR(
        o, max_lr=0.2, total_steps=STEPS, pct_start=0.4, div_factor=5, final_div_factor=100, cycle_momentum=False
    )


def three_phases(o: optim.Optimizer) -> Any:
    return lr_scheduler.OneCycleLR(
        o, max_lr=0.2, total_steps=STEPS, pct_start=0.4, div_factor=5, final_div_factor=100, cycle_momentum=False,
        anneal_strategy="linear", three_phase=True,
    )  # fmt: skip


def cyclic(**options: Any) -> Callable[[optim.Optimizer], Any]:
    return lambda o: lr_scheduler.CyclicLR(o, 0.05, 0.2, step_size_up=2, cycle_momentum=False, **options)


def in_turn(o: optim.Optimizer) -> Any:
    parts = [
        lr_scheduler.ConstantLR(o, 0.5, total_iters=2),
        lr_scheduler.ExponentialLR(o, 0.5),
        lr_scheduler.CosineAnnealingLR(o, 4, 0.01),
    ]
    return lr_scheduler.SequentialLR(o, parts, milestones=[3, 6])


def chained(o: optim.Optimizer) -> Any:
    parts = [lr_scheduler.LinearLR(o, 0.2, 1.0, total_iters=4), lr_scheduler.StepLR(o, 3, 0.5)]
    return lr_scheduler.ChainedScheduler(parts)


# PyTorch's rise ends after pct_start * total_steps - 1 steps, ours after rise * (steps - 1).
ONE_CYCLE = OneCycle(0.2, STEPS, rise=(0.4 * STEPS - 1) / (STEPS - 1), start_factor=5, end_factor=100)

SCHEDULES = [
    sgd(ConstantRate(0.2), lambda o: lr_scheduler.ConstantLR(o, 1.0)),
    sgd(StepDecay(0.2, 3, 0.5), lambda o: lr_scheduler.StepLR(o, 3, 0.5)),
    sgd(ExponentialDecay(0.2, 4, 0.1), lambda o: lr_scheduler.ExponentialLR(o, 0.1 ** (1 / 4))),
    sgd(CosineDecay(0.2, STEPS), lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS)),
    sgd(CosineDecay(0.2, STEPS, 0.05), lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, 0.05)),
    sgd(WarmUp(0.2, 4), lambda o: lr_scheduler.LinearLR(o, 1 / 4, 1, total_iters=3)),
    sgd(WarmUp(CosineDecay(0.2, 6, 0.01), 4), warm_up_then_cosine),
    sgd(ONE_CYCLE, one_cycle),
    sgd(replace(ONE_CYCLE, linear=True, three_phases=True), three_phases),
    Row(Adam(ONE_CYCLE), optim.Adam, {"lr": 0.2}, one_cycle),
    sgd(InverseDecay(0.2, 4, 0.5), lambda o: lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + 0.5 * step / 4))),
    sgd(LinearRate(0.05, 0.2, 6), lambda o: lr_scheduler.LinearLR(o, 0.25, 1.0, total_iters=6)),
    sgd(PolynomialDecay(0.2, STEPS, 2.0), lambda o: lr_scheduler.PolynomialLR(o, STEPS, 2.0)),
    sgd(PolynomialDecay(0.2, 6), lambda o: lr_scheduler.PolynomialLR(o, 6)),
    sgd(MilestoneDecay(0.2, (2, 7), 0.5), lambda o: lr_scheduler.MultiStepLR(o, [2, 7], 0.5)),
    sgd(MilestoneDecay(0.05, (4,), 4), lambda o: lr_scheduler.ConstantLR(o, 0.25, total_iters=4)),
    sgd(CosineRestarts(0.2, 4), lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4)),
    sgd(
        CosineRestarts(0.2, 2, growth=2, final=0.05),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 2, eta_min=0.05),
    ),
    sgd(CyclicRate(0.05, 0.2, 2), cyclic()),
    sgd(CyclicRate(0.05, 0.2, 2, 1, cycle_factor=0.5), cyclic(step_size_down=1, mode="triangular2")),
    sgd(CyclicRate(0.05, 0.2, 2, step_factor=0.9), cyclic(mode="exp_range", gamma=0.9)),
    sgd(
        RateSequence((MilestoneDecay(0.1, (2,), 2), ExponentialDecay(0.2, 1, 0.5), CosineDecay(0.2, 4, 0.01)), (3, 6)),
        in_turn,
    ),
    sgd(RateProduct((LinearRate(0.04, 0.2, 4), StepDecay(1.0, 3, 0.5))), chained),
]
PLATEAUS = [
    (OnPlateau(4.0, 0.5, patience=0, threshold=0.0), {"factor": 0.5, "patience": 0, "threshold": 0.0}),
    (OnPlateau(4.0, 0.2, patience=1, threshold=0.1), {"factor": 0.2, "patience": 1, "threshold": 0.1}),
    (
        OnPlateau(4.0, 0.5, patience=0, threshold=0.5, cooldown=2, absolute=True),
        {"factor": 0.5, "patience": 0, "threshold": 0.5, "threshold_mode": "abs", "cooldown": 2},
    ),
    (
        OnPlateau(4.0, 0.1, patience=0, threshold=0.5, lowest=0.02),
        {"factor": 0.1, "patience": 0, "threshold": 0.5, "min_lr": 0.08},
    ),
]


# ------------------------------------------------------------------ running both


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(4)
    return rng.normal(0, 1, (SAMPLES, *SHAPE)), rng.integers(0, 4, SAMPLES)


def network(optimizer: Optimizer) -> Network:
    net = Network(seed=2).input(SHAPE)
    for layer in [*BODY, SoftMax()]:
        net.add(layer)
    return net.regression(optimizer, engine=ENGINE, dtype="float64")


def mini_batches(size: int) -> Iterable[tuple[Tensor, Tensor]]:
    x, labels = map(torch.from_numpy, data())
    return zip(x.split(size), labels.split(size), strict=True)


class Trainer:
    """PyTorch's training of the same network from the same weights."""

    def __init__(self, start: dict[str, Any], row: Row) -> None:
        state = {name: start[name] for name in ("1.mean", "1.var")}
        self.model = Theirs(BODY, {name: start[name] for name in start.keys() - state.keys()}, state)
        names = [name for name in self.model.p if row.ours.decays(name, declared=name.endswith("kernel"))]
        decayed = [p for name, p in self.model.p.items() if name in names]
        others = [p for name, p in self.model.p.items() if name not in names]
        decay = getattr(row.ours, "weight_decay", 0.0)
        groups = [{"params": decayed, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = row.theirs(groups, **row.options)
        self.schedule = row.schedule(self.optimizer) if row.schedule else None
        self.row = row.ours
        self.gathered = self.samples = 0

    def step(self, x: Tensor, labels: Tensor, last: bool = False) -> float:
        """Take in a mini-batch and update when it is time; return the cost."""
        cost = F.cross_entropy(self.model(x), labels)
        (cost * len(x)).backward()
        self.gathered, self.samples = self.gathered + 1, self.samples + len(x)
        if last or self.gathered == self.row.accumulate:
            self._update()
        return cost.item()

    @torch.no_grad()
    def _update(self) -> None:
        grads = [p.grad.div_(self.samples) for p in self.model.p.values()]
        if self.row.clip_value:
            torch.nn.utils.clip_grad_value_(self.model.p.values(), self.row.clip_value)
        # Pascanu et al. 2013, algorithm 1. PyTorch's own clip_grad_norm_ divides by norm + 1e-6.
        norm = torch.nn.utils.get_total_norm(grads)
        if self.row.clip_norm and norm > self.row.clip_norm:
            torch._foreach_mul_(grads, self.row.clip_norm / norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.schedule:
            self.schedule.step()
        self.gathered = self.samples = 0


def agree(row: Row) -> None:
    net = network(row.ours)
    start = network_arrays(net)
    trainer = Trainer(start, row)
    history = net.fit(*data(), mini_batch_size=BATCH, shuffle=False, progress=False)
    costs = [trainer.step(*pair, last=i == STEPS - 1) * len(pair[0]) for i, pair in enumerate(mini_batches(BATCH))]
    assert len(costs) == STEPS
    found = network_arrays(net)
    assert all(abs(found[name] - start[name]).max() > 1e-6 for name in start)
    cost = history.epochs[0].cost
    assert_agree({"cost": cost, **found}, {"cost": sum(costs) / SAMPLES, **trainer.model.p, **trainer.model.s})


@pytest.mark.parametrize("row", RULES, ids=lambda row: repr(row.ours))
def test_rule(row: Row) -> None:
    agree(row)


@pytest.mark.parametrize("handling", HANDLING, ids=str)
@pytest.mark.parametrize("rule", [SGD, AdamW])
def test_handling_of_gradients(rule: type[Optimizer], handling: dict[str, Any]) -> None:
    theirs = {SGD: optim.SGD, AdamW: optim.AdamW}[rule]
    agree(Row(rule(0.01, weight_decay=0.3, **handling), theirs, {"lr": 0.01}))


@pytest.mark.parametrize("row", SCHEDULES, ids=lambda row: repr(row.ours))
def test_schedule(row: Row) -> None:
    agree(row)


@pytest.mark.parametrize(("schedule", "options"), PLATEAUS, ids=str)
def test_plateau(schedule: OnPlateau, options: dict[str, Any]) -> None:
    row = Row(SGD(schedule), optim.SGD, {"lr": 4.0})
    net = network(row.ours)
    trainer = Trainer(network_arrays(net), row)
    history = net.fit(*data(), epochs=STEPS, mini_batch_size=SAMPLES, shuffle=False, progress=False)
    cuts = lr_scheduler.ReduceLROnPlateau(trainer.optimizer, **options)
    rates = []
    for _ in range(STEPS):
        for x, labels in mini_batches(SAMPLES):
            cuts.step(trainer.step(x, labels))
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert len(set(rates)) > 1
    ours = {"rates": [record.rate for record in history.epochs], **network_arrays(net)}
    assert_agree(ours, {"rates": rates, **trainer.model.p, **trainer.model.s})


def test_every_public_optimizer_and_schedule_has_a_row() -> None:
    public = [getattr(gedanken, name) for name in gedanken.__all__]
    classes = {one for one in public if inspect.isclass(one) and not inspect.isabstract(one)}
    used = [row.ours.learning_rate for row in SCHEDULES] + [schedule for schedule, _ in PLATEAUS]
    assert {one for one in classes if issubclass(one, Optimizer)} == {type(row.ours) for row in RULES}
    assert {one for one in classes if issubclass(one, Schedule)} == {type(one) for one in used}
