"""Every optimizer's kernel gives what its specification gives, with any number of threads."""

from dataclasses import replace

import numpy as np
import pytest

from gedanken import Adafactor, Cpu, Optimizer
from gedanken.engine.cpu.engine import HOW, CpuEngine
from gedanken.engine.plan import Engine
from gedanken.engine.select import select_engine
from gedanken.optimizer_state import OptimizerState, Updated
from gedanken.types import Array
from tests.cases import OPTIMIZERS, OptimizerCase, name_of
from tests.optimizer_cases import updated

SIZE, STEPS = 9001, 7  # two tasks, the last one short; RAdam divides from the sixth step on
KNOWN = [case for case in OPTIMIZERS if type(case.optimizer) is not Adafactor]  # which NumPy updates
HANDLING = {"clip_value": 1.5, "clip_norm": 90.0}


def learnt(engine: Engine, rule: Optimizer, decayed: int, size: int = SIZE) -> Array:
    rng = np.random.default_rng(decayed)
    p = engine.ops.asarray(rng.normal(size=size))
    state = OptimizerState(engine.ops, rule, updated(rule, [decayed, size], decayed), engine.updater)
    for _ in range(STEPS):
        state.apply(p, engine.ops.asarray(rng.normal(size=size)), samples=1)
    return np.concatenate([p, *state.slots.values()])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", KNOWN, ids=name_of)
def test_a_kernel_does_what_the_rule_does(case: OptimizerCase, dtype: str) -> None:
    engine = select_engine("cpu", dtype)
    assert engine.updater(case.optimizer, Updated(SIZE, SIZE)) is not None
    close = {"rtol": 1e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-10, "atol": 1e-12}
    for decayed, options in ((0, HANDLING), (4321, {}), (SIZE, HANDLING)):
        rule = replace(case.optimizer, learning_rate=0.01, **options)
        expected = learnt(select_engine("numpy", dtype), rule, decayed)
        np.testing.assert_allclose(learnt(engine, rule, decayed), expected, **close)


@pytest.mark.parametrize("case", KNOWN, ids=name_of)
def test_the_bits_are_those_of_one_thread(case: OptimizerCase) -> None:
    rule = replace(case.optimizer, clip_norm=90.0)
    one, *others = (learnt(Cpu(threads=threads).start(), rule, 4321).tobytes() for threads in (1, 2, 3))
    assert others == [one, one]


@pytest.mark.parametrize("case", KNOWN, ids=name_of)
def test_run_as_python_it_keeps_to_its_arrays(case: OptimizerCase, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = learnt(select_engine("numpy", "float64"), case.optimizer, 7, size=20)
    monkeypatch.setenv(HOW, "python")
    np.testing.assert_allclose(learnt(CpuEngine("test", "float64"), case.optimizer, 7, size=20), expected, rtol=1e-9)
