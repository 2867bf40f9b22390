"""The command line in this process, and small things for it to work on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from gedanken.cli.main import main
from gedanken.datasets import load_drawn_digits


class Result(NamedTuple):
    status: int
    out: str
    err: str


Cli = Callable[..., Result]


def run(*argv: object) -> int:
    try:
        return main([str(word) for word in argv])
    except SystemExit as ended:  # argparse
        return int(str(ended.code))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    monkeypatch.chdir(tmp_path)

    def call(*argv: object) -> Result:
        capsys.readouterr()
        status = run(*argv)
        return Result(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of drawn digits that is right most of the time."""
    path = tmp_path_factory.mktemp("digits") / "digits.safetensors"
    words = "train drawn-digits --network mlp --limit 3000 --epochs 5 --mini-batch-size 32 --quiet --output"
    assert run(*words.split(), path) == 0
    return path


@pytest.fixture(scope="session")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of class folders; cats are red and dogs are blue, in pictures of many sizes."""
    folder = tmp_path_factory.mktemp("data") / "pets"
    draws = np.random.default_rng(0)
    for name, colour in {"cat": (200, 60, 40), "dog": (40, 60, 200)}.items():
        (folder / name).mkdir(parents=True)
        for k in range(10):
            pixels = np.clip(draws.normal(colour, 40, (20 + k, 30 - k, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{k}.png")
    return folder


@pytest.fixture(scope="session")
def pets_model(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pets") / "pets.safetensors"
    words = "--network mlp --size 8x10 --epochs 10 --mini-batch-size 4 --quiet --output"
    assert run("train", pets, *words.split(), path) == 0
    return path


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[int]]:
    """Twenty drawn digits as ink on large paper, and what they are."""
    folder = tmp_path_factory.mktemp("scans")
    _, _, data, labels = load_drawn_digits(0, 20)
    files = []
    for k, picture in enumerate(data):
        files.append(folder / f"scan{k}.png")
        Image.fromarray((255 - 255 * picture[0]).astype(np.uint8)).resize((84, 84)).save(files[-1])
    return files, labels.argmax(axis=1).tolist()


@pytest.fixture
def architecture(tmp_path: Path) -> Callable[..., Path]:
    """Write an architecture file and return its path."""

    def write(*layers: object, input: object = (1, 28, 28), **more: object) -> Path:
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"input": input, "layers": layers, **more}))
        return path

    return write
