"""The engine for CPUs: runs of layers become programs of kernels, one for each batch size."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gedanken.checks import require
from gedanken.costs import Cost
from gedanken.engine.base import Engine, FusedStep, Placement
from gedanken.engine.cpu.amx import require_tiles
from gedanken.engine.cpu.compiler import Library, library
from gedanken.engine.cpu.fused_layers import FusedLayers
from gedanken.engine.cpu.interpreted import InterpretedLibrary
from gedanken.engine.cpu.lowering.cost import has_kernel
from gedanken.engine.cpu.lowering.match import why_no_kernel
from gedanken.engine.cpu.machine import Machine, this_machine, untried
from gedanken.engine.cpu.ops import CpuOps
from gedanken.engine.cpu.sparse_steps import sparse_steps
from gedanken.engine.cpu.threads import Pool
from gedanken.engine.cpu.update import fused_update
from gedanken.engine.learner import Learner
from gedanken.layers.stages import ContainerStage, LayerStage, Stage
from gedanken.optimizer_state import Updated, Updater
from gedanken.optimizers import Optimizer
from gedanken.processors import usable_processors

HOW = "GEDANKEN_KERNELS"  # the environment's word for how kernels are run


def kernels_for(machine: Machine, dtype: str, precision: str) -> Library:
    """Return the kernels of this process: machine code or, where the environment asks for it, Python."""
    how = os.environ.get(HOW, "")
    require(how in ("", "python"), HOW, 'be "python" or not set', how)
    return InterpretedLibrary(machine, dtype, precision) if how else library(machine, dtype, precision)


class CpuEngine(Engine):
    """Runs what it can by kernels of its own and every other layer by its specification."""

    def __init__(self, reason: str, dtype: str, threads: int | None = None, precision: str = "full") -> None:
        machine = this_machine()
        if precision == "bf16":
            require_tiles(machine)
        self.library = kernels_for(machine, dtype, precision)
        self.pool = Pool(self.library, threads or usable_processors(), exactly=threads is not None)
        self.threads = self.pool.threads
        doubt = f" ({untried(machine)} by us, so compare with engine numpy)" if untried(machine) else ""
        what = f"{reason}: kernels for {machine.unit}{doubt}, {self.threads} threads"
        if self.library.interpreter:
            what += f", run as Python ({HOW}=python)"
        if precision == "bf16":
            what += f", products in bf16 ({'AMX' if machine.tiles == 'amx' else 'emulated'})"
        super().__init__("cpu", CpuOps(self.library, self.pool), what)

    def stages(self, layers: Sequence[Placement], dx: bool = True, beside: Sequence[Stage] = ()) -> Sequence[Stage]:
        stages: list[Stage] = []
        known: list[Placement] = []
        others = iter(beside)
        for layer in layers:
            if why_no_kernel(layer):
                stages += self._fused(known, dx or bool(stages), others)
                stages.append(self._around(layer, dx or bool(stages), next(others, None)))
                known = []
            else:
                known.append(layer)
        return [*stages, *self._fused(known, dx or bool(stages), others)]

    def fallbacks(self, layers: Sequence[Placement]) -> list[str]:
        found = []
        for stage in layers:
            if isinstance(stage, ContainerStage):
                for row in stage.rows.values():
                    found += self.fallbacks(row)
            elif why := why_no_kernel(stage):
                found.append(f"{stage.name} ({why})")
        return found

    def why_slow(self, cost: Cost) -> str:
        return "" if has_kernel(cost) else "no kernel"

    def step_bytes(self, stages: Sequence[Stage], samples: int) -> int | None:
        fused = [stage for stage in stages if isinstance(stage, FusedLayers)]
        return sum(one.step_bytes(samples) for one in fused) if len(fused) == len(stages) else None

    def fused_step(
        self, layers: Sequence[Placement], cost: Cost, beside: FusedStep | None = None, dx: bool = False
    ) -> FusedLayers | None:
        if self.cost_fallbacks(cost) or not layers or any(map(why_no_kernel, layers)):
            return None
        return FusedLayers(self.library, self.pool, layers, dx, cost, beside)

    def learner(self, layers: Sequence[Placement], cost: Cost, rule: Optimizer) -> Learner | None:
        return sparse_steps(self.library, layers, cost, rule)

    def updater(self, rule: Optimizer, updated: Updated) -> Updater | None:
        return fused_update(self.library, self.pool, rule, updated)

    def close(self) -> None:
        self.pool.close()

    def _fused(self, known: Sequence[Placement], dx: bool, others: Iterator[Stage]) -> list[Stage]:
        return [FusedLayers(self.library, self.pool, known, dx, None, next(others, None))] if known else []

    def _around(self, layer: Placement, dx: bool, other: Stage | None) -> Stage:
        """Return what runs a layer without a kernel; of a container, what is in it that has kernels runs by them."""
        if isinstance(layer, LayerStage):
            return layer
        rows: dict[str, Sequence[Stage]] = {}
        for name, row in layer.rows.items():
            rows[name] = self.stages(row, dx, other.rows[name] if isinstance(other, ContainerStage) else ())
        return replace(layer, rows=rows, dx=dx)
