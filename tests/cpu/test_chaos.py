"""Some rounds of each kind of chaos; `make soak` goes on for a while."""

import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("needs POSIX signals and forks", allow_module_level=True)


@pytest.mark.parametrize(
    ("kind", "rounds"),
    [
        ("lines", 20),
        ("compilers_lines", 12),
        ("instants", 25),
        ("handlers", 9),
        ("ends", 6),
        ("forks", 2),
        ("starts", 2),
    ],
)
def test_nothing_is_wrong_afterwards(kind: str, rounds: int) -> None:
    command = [sys.executable, "-X", "faulthandler", str(Path(__file__).with_name("chaos.py"))]
    done = subprocess.run(
        [*command, "--kind", kind, "--rounds", str(rounds)], capture_output=True, text=True, timeout=500, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"{rounds} rounds of {kind}\n"), done
