"""How long importing Gedanken takes beside `import numpy`: fresh processes in turns, medians, and their ratio.

python benchmarks/import_time.py [runs]
"""

import os
import statistics
import subprocess
import sys
import time


def seconds(statement: str) -> float:
    """Return the wall time of a new interpreter that runs the statement."""
    # Installed packages have their bytecode; a development checkout gets it in the first, uncounted run.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    statements = ("pass", "import numpy", "import gedanken", "from gedanken import *")
    for statement in statements:
        seconds(statement)
    rounds = [[seconds(statement) for statement in statements] for _ in range(runs)]
    for statement, times in zip(statements, zip(*rounds, strict=True), strict=True):
        print(f"{statement:22} {statistics.median(times) * 1000:6.1f} ms")
    for place, statement in enumerate(statements[2:], start=2):
        ratio = statistics.median(times[place] / times[1] for times in rounds)
        print(f"{statement} / import numpy, median of {runs} pairs: {ratio:.2f}")


if __name__ == "__main__":
    main()
