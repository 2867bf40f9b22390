"""The scripts in examples/ run as they stand, and are listed."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gedanken import Network

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
SMALL = {  # arguments with which a script takes a second or two, and still learns what it says
    "autoencoder": "--limit 1500 --epochs 4",
    "digits_row_by_row": "--limit 2000 --epochs 4",
    "picture_and_table": "--limit 1500 --epochs 6",
    "segmentation": "--limit 300 --epochs 4",
    "sunspots": "--epochs 30",
    "text_by_topic": "--limit 2000 --epochs 5",
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_runs_to_its_end_without_a_warning(script: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", script, *SMALL.get(script.stem, "").split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


class FirstTrainingError(Exception):
    """A script came to its first training."""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_nothing_is_wrong_with_what_a_script_trains(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def checked(net: Network, data: Any, labels: Any = None, **given: Any) -> None:
        taken = {name: given[name] for name in ("validation_set", "mini_batch_size") if name in given}
        assert (found := net.check(data, labels, **taken)).ok, found
        raise FirstTrainingError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Network, "fit", checked)
    monkeypatch.setattr(sys, "argv", [str(script), *SMALL.get(script.stem, "").split()])
    with pytest.raises(FirstTrainingError):
        runpy.run_path(str(script), run_name="__main__")


def test_all_scripts_are_listed() -> None:
    listed = re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text())
    assert sorted(listed) == [path.name for path in SCRIPTS]
