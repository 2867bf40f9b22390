"""`gedanken check`: what it prints, and its exit status."""

import re
from argparse import ArgumentParser
from typing import Any

import numpy as np
import pytest

from gedanken.cli.parser import make_parser

QUICK = ["check", "drawn-digits", "--network", "mlp", "--limit", "300"]


def test_a_sound_training_is_ready(cli, tmp_path):
    result = cli(*QUICK)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("Ready to train")
    assert "of 300 samples" in result.out
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_printed_with_its_page(cli):
    result = cli(*QUICK, "--optimizer", "sgd", "--learning-rate", "1e-9")
    assert (result.status, result.err) == (1, "")
    assert result.out.startswith("It may learn, but not as well as it could: 1 warning")
    assert "docs/check.md#learning-rate-low" in result.out


def test_folders_files_and_architectures(cli, pets, architecture, tmp_path):
    dense = {"type": "FullyConnectedLayer", "n_units": 2}
    file = architecture({"type": "Flatten"}, {"type": "SoftMax"}, dense, {"type": "SoftMax"}, input=(3, 6, 5))
    result = cli("check", pets, "--network", file, "--mini-batch-size", "4")
    assert result.status == 1
    assert re.search(r"^error: softmax-twice$", result.out, re.MULTILINE)
    assert "a step of 4 samples" in result.out
    rows = np.random.default_rng(0).normal(size=(60, 2)).round(3)
    lines = [f"{1 if a > b else -1} 1:{a} 2:{b}\n" for a, b in rows]
    (tmp_path / "rows").write_text("".join(lines))
    assert cli("check", "rows").status == 0
    result = cli("check", "rows", "--network", "linear", "--cost", "hinge", "--mini-batch-size", "30")
    assert result.status == 0
    assert "a step of 30 samples" in result.out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nowhere"], "DATA that is no existing file or folder must be one of"),
        (["drawn-digits", "--optimizer", "adma"], "--optimizer must be one of"),
        (["drawn-digits", "--cost", "hing"], "--cost must be one of"),
        ([*QUICK[1:], "--mini-batch-size", "0"], "mini_batch_size must be a whole number of at least 1, got 0"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_mistakes(cli, words, error):
    result = cli("check", *words)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"gedanken: error: {error}")


def test_its_options_are_those_of_train():
    (commands,) = [action for action in make_parser()._actions if hasattr(action, "choices") and action.choices]
    choices: Any = commands.choices

    def options(parser: ArgumentParser) -> dict[str, Any]:
        return {action.dest: (action.option_strings, action.default, action.type) for action in parser._actions}

    mine, theirs = options(choices["check"]), options(choices["train"])
    assert {name: theirs[name] for name in mine} == mine
    assert {"network", "optimizer", "cost", "engine", "limit", "size", "seed"} <= set(mine)
