"""Model files from strangers: each ends in a network or a CheckpointError, within the time and memory of its size."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import AveragePoolLayer, CheckpointError, Flatten, FullyConnectedLayer, MaxPoolLayer, Network
from tests.hostile import MEMORY, opened, sealed

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits memory, and makes files that only POSIX has")
LIMITED = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))\n"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "net"
    net = Network(1).input((4,)).add(FullyConnectedLayer(3)).add(FullyConnectedLayer(2))
    net.regression(cost="mean_squared").save(path)
    return path.read_bytes()


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError, match=re.escape(str(path))) as caught:
        Network.load(path)
    return str(caught.value)


def test_files_with_random_changes_and_a_right_checksum() -> None:
    command = [sys.executable, "-m", "tests.hostile", "1", "2500"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert sum(found.values()) == 2500
    assert found["loaded"] > 100


Change = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], None]


def dense(n_units: int) -> dict[str, Any]:
    return {"type": "FullyConnectedLayer", "n_units": n_units}


def nested(depth: int) -> dict[str, Any]:
    layer: dict[str, Any] = {"type": "ReLU"}
    for _ in range(depth):
        layer = {"type": "Residual", "layers": [layer]}
    return layer


KERNEL = "0.kernel"
CHANGES: dict[str, Change] = {
    "more units than bits": lambda a, m, t: a["layers"].__setitem__(0, dense(2**62)),
    "units whose product is no number": lambda a, m, t: a["layers"].__setitem__(0, dense(2**70)),
    "units beyond memory": lambda a, m, t: a["layers"].__setitem__(0, dense(10**14)),
    "a vast input": lambda a, m, t: a.update(input_shape=[2**40], layers=[{"type": "ReLU"}], learner=None),
    "a vast inner picture": lambda a, m, t: a.update(
        input_shape=[1, 4, 4],
        layers=[{"type": "MaxPoolLayer", "width_filter": 2, "height_filter": 2, "zero_padding": 2**31}],
    ),
    "200 nested": lambda a, m, t: a["layers"].append(nested(200)),
    "100,000 nested": lambda a, m, t: m.update(architecture="[" * 100_000),
    "half a million layers": lambda a, m, t: a.update(layers=[{"type": "ReLU"}] * 100_000),
    "arrays over each other": lambda a, m, t: t[KERNEL].update(data_offsets=t["1.kernel"]["data_offsets"]),
    "an end before its start": lambda a, m, t: t[KERNEL].update(data_offsets=[48, 0]),
    "no end": lambda a, m, t: t[KERNEL].update(data_offsets=[0]),
    "no offsets": lambda a, m, t: t[KERNEL].update(data_offsets=[]),
    "vast offsets": lambda a, m, t: t[KERNEL].update(data_offsets=[2**70, 2**70 + 48]),
    "offsets of text": lambda a, m, t: t[KERNEL].update(data_offsets="ab"),
    "a shape with -1": lambda a, m, t: t[KERNEL].update(shape=[4, -1]),
    "a vast shape": lambda a, m, t: t[KERNEL].update(shape=[2**62, 2**62]),
    "a shape whose product is no number": lambda a, m, t: t[KERNEL].update(shape=[2**32] * 2, data_offsets=[0, 0]),
    "a shape below zero": lambda a, m, t: t[KERNEL].update(shape=[-4, -3]),
    "an unknown number type": lambda a, m, t: t[KERNEL].update(dtype="I32"),
    "offsets of fractions": lambda a, m, t: t[KERNEL].update(data_offsets=[0.5, 48.5]),
    "names twice in the architecture": lambda a, m, t: m.update(architecture=json.dumps(a)[:-1] + ', "epoch": 5}'),
    "a shape of 100 axes": lambda a, m, t: t[KERNEL].update(shape=[1] * 100),
    "a shape of truths": lambda a, m, t: t[KERNEL].update(shape=[True, True]),
    "another shape of the same size": lambda a, m, t: t[KERNEL].update(shape=[3, 4]),
    "another number type": lambda a, m, t: a.update(dtype="float64"),
    "an array more": lambda a, m, t: t.update(more={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}),
    "version a number": lambda a, m, t: m.update(version=1),
    "version of 5,000 digits": lambda a, m, t: m.update(version="1" * 5000),
    "version of foreign digits": lambda a, m, t: m.update(version="\u0661"),
    "checksum a surrogate": lambda a, m, t: m.update(checksum="\ud800"),
    "checksum a number": lambda a, m, t: m.update(checksum=0),
    "a large header": lambda a, m, t: m.update(more="x" * (5 << 20)),
    "epoch of text": lambda a, m, t: a.update(epoch="x"),
    "epoch below zero": lambda a, m, t: a.update(epoch=-5),
    "epoch beyond counting": lambda a, m, t: a.update(epoch=2**70),
    "epoch infinite": lambda a, m, t: a.update(epoch=float("inf")),
    "epoch a dict": lambda a, m, t: a.update(epoch={}),
    "epoch a truth": lambda a, m, t: a.update(epoch=True),
    "updates below zero": lambda a, m, t: a["learner"].update(updates=-1),
    "plateau of text": lambda a, m, t: a["learner"].update(plateau=["a", "b", "c"]),
    "cost an optimizer": lambda a, m, t: a["learner"].update(cost={"type": "Adam"}),
    "optimizer a cost": lambda a, m, t: a["learner"].update(optimizer={"type": "MeanSquared"}),
    "cost that does not fit": lambda a, m, t: a["learner"].update(
        cost={"type": "CrossEntropy", "class_weights": [1, 2, 3, 4, 5]}
    ),
    "metrics twice": lambda a, m, t: a["learner"].update(metrics=[{"type": "R2"}, {"type": "R2"}]),
    "names twice": lambda a, m, t: a.update(class_names=["a", "a"]),
    "names of numbers": lambda a, m, t: a.update(class_names=[1, 2]),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_files_that_lie_are_refused(change: Change, good: bytes, tmp_path: Path) -> None:
    architecture, metadata, table, data = opened(good)
    change(architecture, metadata, table)
    path = tmp_path / "net"
    path.write_bytes(sealed({"architecture": json.dumps(architecture), **metadata}, table, data))
    refused(path)


VAST = {"below 2**31": [2**70, 2**63, 2**31], "must be of at most 2147483648 values": [2**31 - 1]}


@pytest.mark.parametrize(("rule", "value"), [(rule, value) for rule, values in VAST.items() for value in values])
@pytest.mark.parametrize("kind", [MaxPoolLayer, AveragePoolLayer])
def test_windows_that_no_engine_holds_are_refused(kind: Any, rule: str, value: int, tmp_path: Path) -> None:
    path = tmp_path / "net"
    net = Network().input((1, 4, 4)).add(kind(2, 3, zero_padding="same")).add(Flatten())
    net.regression(cost="mean_squared").save(path)
    content = path.read_bytes()
    assert Network.load(path).layers == net.layers
    for argument in ("width_filter", "height_filter", "stride"):
        architecture, metadata, table, data = opened(content)
        architecture["layers"][0][argument] = value
        path.write_bytes(sealed({**metadata, "architecture": json.dumps(architecture)}, table, data))
        if argument == "stride" and "values" in rule:
            assert Network.load(path).feedforward(np.ones((2, 1, 4, 4))).shape == (2, 1)
        else:
            assert rule in refused(path)


def test_weights_that_are_not_finite_are_refused(good: bytes, tmp_path: Path) -> None:
    architecture, metadata, table, data = opened(good)
    path = tmp_path / "net"
    path.write_bytes(sealed({**metadata, "architecture": json.dumps(architecture)}, table, b"\xff" * len(data)))
    assert "not finite" in refused(path)


# ------------------------------------------------------------------ files that are no files


LOAD = """
from gedanken import *
for path in PATHS:
    try:
        Network.load(path)
    except CheckpointError as error:
        print(error)
"""


def load_in_little_memory(*paths: object) -> str:
    """Return what a program says that loads files within the memory that it is given, without waiting for ever."""
    code = LIMITED + LOAD.replace("PATHS", repr([str(path) for path in paths]))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == ""
    return done.stdout


DEVICES = ["/dev/zero", "/dev/full", "/dev/random", "/dev/null", "/dev/tty", "/proc/self/mem"]


def test_devices_are_no_models() -> None:
    devices = [device for device in DEVICES if Path(device).exists()]
    said = load_in_little_memory(*devices).splitlines()
    assert [line.partition(" ")[0].rstrip(":") for line in said] == devices


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net")
    assert "cannot be read: is a pipe, not a file" in load_in_little_memory(tmp_path / "net")


def test_a_socket_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # its name must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("net")
        assert "cannot be read: is a socket" in load_in_little_memory(tmp_path / "net")


def test_a_folder_and_a_ring_of_links_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "ring").symlink_to("ring")
    assert "cannot be read: Is a directory" in refused(tmp_path / "folder")
    assert "cannot be read" in refused(tmp_path / "ring")


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "x" * 300, "", "missing"], ids=ascii)
def test_paths_that_no_file_has(path: str) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        Network.load(path)


@pytest.mark.parametrize("header", [b"", b"good"], ids=["of zeros", "with a good header"])
def test_a_sparse_file_of_100_gigabytes(header: bytes, good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net"
    path.write_bytes(good if header else b"")
    os.truncate(path, 100 << 30)
    assert str(path) in load_in_little_memory(path)


def test_a_sparse_file_of_100_gigabytes_that_says_it_is_a_network(tmp_path: Path, good: bytes) -> None:
    architecture, metadata, table, _ = opened(good)
    side = 1 << 17
    architecture.update(input_shape=[side], layers=[{**dense(side), "bias": False}], learner=None)
    table = {"0.kernel": {"dtype": "F32", "shape": [side, side], "data_offsets": [0, 4 * side * side]}}
    path = tmp_path / "net"
    path.write_bytes(sealed({**metadata, "architecture": json.dumps(architecture)}, table, b""))
    os.truncate(path, path.stat().st_size + 4 * side * side)
    assert str(path) in load_in_little_memory(path)


PARTS = ["[],", "{},", '"",', "1,", '{\\"type\\":\\"ReLU\\"},', '[\\"a\\",1],']


@pytest.mark.parametrize("key", ["layers", "class_names", "more"])
def test_a_header_as_large_as_may_be(key: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"net-{number}" for number in range(len(PARTS))]
    for path, part in zip(paths, PARTS, strict=True):
        many = part * ((2 << 20) // len(part) - 400)
        inner = f'{{\\"{key}\\":[{many}1],\\"learner\\":null}}'
        header = (
            b'{"__metadata__":{"format":"gedanken","version":"1","checksum":"0","architecture":"%s"}}' % inner.encode()
        )
        path.write_bytes(len(header).to_bytes(8, "little") + header)
    said = load_in_little_memory(*paths).splitlines()
    assert len(said) == len(paths)
    assert all(str(path) in line for path, line in zip(paths, said, strict=True))


def test_a_file_that_ends_while_it_is_read_is_refused(good: bytes, tmp_path: Path) -> None:
    for size in range(0, len(good), 7):
        (tmp_path / "net").write_bytes(good[:size])
        refused(tmp_path / "net")
