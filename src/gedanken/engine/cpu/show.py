"""Show what a kernel becomes: python -m gedanken.engine.cpu.show dense.add [--assembly] [--dtype float64]"""

import argparse
import sys
from collections.abc import Sequence

from gedanken.engine.cpu.compiler import kernel_function, optimised, target_machine
from gedanken.engine.cpu.ir_text import Module
from gedanken.engine.cpu.machine import this_machine
from gedanken.engine.cpu.translate import kernel_ir


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a kernel's LLVM IR as it was translated or, with --assembly, the machine code for this processor."""
    parser = argparse.ArgumentParser(prog="python -m gedanken.engine.cpu.show", description=main.__doc__)
    parser.add_argument("kernel", help='"file.function" in gedanken/engine/cpu/kernels, such as dense.add')
    parser.add_argument("--assembly", action="store_true", help="machine code in place of LLVM IR")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="of the reals")
    given = parser.parse_args(arguments)
    try:
        kernel = kernel_function(given.kernel)
    except (ImportError, AttributeError, ValueError):
        parser.error(f'there is no kernel {given.kernel!r}; it is "file.function", such as dense.add')
    machine = this_machine()
    module = Module(machine, given.dtype)
    kernel_ir(module, kernel, f"entry_{given.kernel.replace('.', '_')}")
    target = target_machine(machine)
    text = optimised(module.text(), target, target.emit_assembly) if given.assembly else module.text()
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
