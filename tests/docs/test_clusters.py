"""The recipes for clusters are sound: shell, YAML, and the commands in them."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gedanken.cli.parser import make_parser
from gedanken.ranks.hosts import hosts_of

DOCS = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))
PAGE = (Path(__file__).parents[2] / "docs/clusters.md").read_text()
SCRIPTS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
HOSTS = {"$hosts": "a:4,b:4", "$(paste -sd, /etc/mpi/hostfile)": "a:4,b:4"}  # what the shell makes of it


def launches() -> Iterator[str]:
    """Return all `gedanken launch` lines of the docs that are commands, without what stands around them."""
    for page in DOCS:
        for line in page.read_text().splitlines():
            if found := re.match(r"^(?: +|)(?:- |entrypoint: )?(gedanken launch .*)", line):
                yield found[1]
            yield from re.findall(r"`(?:[^`]*-- )?(gedanken launch [^`]*\.py[^`]*)`", line)


LAUNCHES = sorted(set(launches()))


def manifests() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install pyyaml")
    found = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]
    return {one["kind"]: one for one in found}


@pytest.mark.parametrize("line", LAUNCHES)
def test_launch_lines_are_what_the_command_takes(line: str) -> None:
    for said, meant in HOSTS.items():
        line = line.replace(said, meant)
    words = shlex.split(line.replace("[arguments]", ""), comments=True)[1:]
    found = make_parser().parse_args(words)
    assert found.command == "launch"
    assert found.script.endswith(".py")
    assert bool(found.hosts) != (found.n is not None), "how many ranks there are is known"
    assert not found.hosts or hosts_of(found.hosts)


def test_all_ways_stand_among_the_launch_lines() -> None:
    assert len(LAUNCHES) >= 6
    for word in ("--ray", "--hosts", "$(paste", "$hosts"):
        assert any(word in line for line in LAUNCHES), word


@pytest.mark.parametrize("script", SCRIPTS, ids=["launch", "srun"])
def test_shell_is_sound(script: str, tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text(script)
    subprocess.run(["bash", "-n", tmp_path / "train.sh"], check=True)
    checker = Path(sys.executable).with_name("shellcheck")
    if command := str(checker) if checker.exists() else shutil.which("shellcheck"):
        done = subprocess.run(
            [command, "-e", "SC1091", tmp_path / "train.sh"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_the_slurm_script_names_all_hosts_with_their_ranks(tmp_path: Path) -> None:
    for name, does in {"scontrol": "printf 'n1\\nn2\\n'", "gedanken": 'printf "%s " "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    script = re.sub(r"^source .*$", "", SCRIPTS[0], flags=re.MULTILINE)
    given = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NTASKS_PER_NODE": "4"}
    done = subprocess.run(["bash", "-c", script], env=given, capture_output=True, text=True, check=False)
    assert done.stdout == "launch --hosts n1:4,n2:4 train.py ", done.stderr


@pytest.mark.parametrize("kind", ["RayJob", "MPIJob"])
def test_a_manifest_has_room_for_its_ranks(kind: str) -> None:
    spec = manifests()[kind]["spec"]
    if kind == "RayJob":
        (workers,) = spec["rayClusterSpec"]["workerGroupSpecs"]
        ranks = make_parser().parse_args(shlex.split(spec["entrypoint"])[1:]).n
        pods = workers["replicas"]
        assert spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    else:
        workers = spec["mpiReplicaSpecs"]["Worker"]
        pods, ranks = workers["replicas"], workers["replicas"] * spec["slotsPerWorker"]
    pod = workers["template"]["spec"]
    (container,) = pod["containers"]
    assert pods * int(container["resources"]["limits"]["cpu"]) == ranks
    assert [one["name"] for one in container["volumeMounts"]] == [one["name"] for one in pod["volumes"]]
