"""What the commands do when all is well."""

import inspect
import json
import os
import re
from argparse import ArgumentParser
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import gedanken
from gedanken import Network, Optimizer
from gedanken.cli.networks import NETWORKS
from gedanken.cli.parser import make_parser
from gedanken.named import OPTIMIZERS

QUICK = ["drawn-digits", "--network", "mlp", "--limit", "40", "--mini-batch-size", "20"]
DENSE = {"type": "FullyConnectedLayer", "n_units": 10}


def accuracy(text: str) -> float:
    found = re.search(r"\baccuracy ([0-9.]+)", text)
    assert found, text
    return float(found[1])


# ---------------------------------------------------------------------------------------------- round trips


def test_trained_digits_are_known_again(cli, digits, scans):
    files, truth = scans
    result = cli("evaluate", digits, "drawn-digits", "--limit", 300)
    assert result.status == 0
    assert "300 samples" in result.out
    assert accuracy(result.out) > 0.75
    rows = json.loads(cli("predict", digits, *files, "--invert", "--json").out)
    assert [row["file"] for row in rows] == [str(file) for file in files]
    assert np.mean([row["number"] == right for row, right in zip(rows, truth, strict=True)]) > 0.7
    assert all(row["class"] == str(row["number"]) and 0.1 <= row["probability"] <= 1 for row in rows)


def test_folder_of_pictures(cli, pets, pets_model):
    assert Network.load(pets_model).class_names == ("cat", "dog")
    assert Network.load(pets_model).input_shape == (3, 8, 10)
    assert accuracy(cli("evaluate", pets_model, pets).out) == 1
    lines = cli("predict", pets_model, pets / "dog" / "3.png", pets / "cat" / "10.png", pets / "cat" / "0.png")
    assert lines.status == 1
    assert "10.png" in lines.err
    assert [line.split()[1] for line in lines.out.splitlines()] == ["dog", "cat"]


def test_classes_are_matched_by_name(cli, pets, pets_model, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dog").symlink_to(pets / "dog")
    assert accuracy(cli("evaluate", pets_model, tmp_path / "other").out) == 1


def test_lines_are_aligned(cli, pets, pets_model, tmp_path):
    short = tmp_path / "a.png"
    short.write_bytes((pets / "cat" / "0.png").read_bytes())
    out = cli("predict", pets_model, short, pets / "dog" / "0.png").out
    assert len({len(line) for line in out.splitlines()}) == 1


def test_without_names_classes_are_numbers(cli, pets, pets_model, tmp_path):
    bare = tmp_path / "bare.safetensors"
    net = Network.load(pets_model)
    net.class_names = None
    net.save(bare)
    assert cli("predict", bare, pets / "dog" / "0.png").out.split()[1] == "1"
    assert accuracy(cli("evaluate", bare, pets).out) == 1


def test_single_output(cli, architecture, pets):
    dense = {"type": "FullyConnectedLayer", "n_units": 1}
    file = architecture({"type": "Flatten"}, dense, {"type": "Sigmoid"}, input=(3, 6, 5))
    words = "--cost binary_cross_entropy --learning-rate 0.05 --epochs 20 --mini-batch-size 4 --output one.safetensors"
    result = cli("train", pets, "--network", file, *words.split())
    assert "(3, 6, 5)" in result.err  # the size comes from the file
    assert accuracy(cli("evaluate", "one.safetensors", pets).out) == 1
    rows = json.loads(cli("predict", "one.safetensors", *sorted(pets.glob("*/0.png")), "--json").out)
    assert [row["class"] for row in rows] == ["cat", "dog"]
    assert min(row["probability"] for row in rows) > 0.5


def test_flat_input(cli, architecture):
    file = architecture(DENSE, {"type": "SoftMax"}, input=[784])
    words = "train drawn-digits --limit 500 --epochs 3 --mini-batch-size 20 --output flat.safetensors --network"
    assert cli(*words.split(), file).status == 0
    assert accuracy(cli("evaluate", "flat.safetensors", "drawn-digits", "--limit", 500).out) > 0.3


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_published_data_sets(cli, name):
    if not os.environ.get("GEDANKEN_DATA"):
        pytest.skip("needs the real data: set GEDANKEN_DATA")
    result = cli("train", name, "--network", "mlp", "--limit", 3000, "--mini-batch-size", 32, "--output", "m")
    assert result.err.startswith("3,000 samples of (1, 28, 28) in 10 classes")
    assert accuracy(result.err) > 0.5
    assert "10,000 samples" in cli("evaluate", "m", name).out


# ---------------------------------------------------------------------------------------------- options of train


def test_same_seed_same_file(cli):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert cli("train", *QUICK, "--seed", seed, "--output", name).status == 0
    first, second, third = (Path(name).read_bytes() for name in "abc")
    assert first == second != third


def test_without_output_nothing_is_saved(cli, tmp_path):
    result = cli("train", *QUICK)
    assert "not saved" in result.err
    assert list(tmp_path.iterdir()) == []


def test_output_is_told_and_folders_are_made(cli):
    assert "model saved as new/m.safetensors" in cli("train", *QUICK, "--output", "new/m.safetensors").err
    assert Path("new/m.safetensors").is_file()


def test_quiet_says_nothing(cli):
    assert cli("train", *QUICK, "--quiet") == (0, "", "")


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_every_optimizer_by_name(cli, kind: type[Optimizer]):
    name = kind.__name__.lower()
    assert cli("train", *QUICK, "--optimizer", name, "--learning-rate", 0.0123, "--output", "m").status == 0
    train_state = Network.load("m")._train_state
    assert train_state is not None
    assert train_state.optimizer_state.optimizer == kind(learning_rate=0.0123)


def test_options_reach_the_training(cli):
    words = "--epochs 3 --cost mean_squared --dtype float64 --validation 0.25 --no-shuffle --engine numpy --output m"
    err = cli("train", *QUICK, *words.split()).err
    assert "epoch 3/3" in err
    assert "mean_absolute_error" in err
    net = Network.load("m")
    assert (net.epoch, net.summary().dtype) == (3, "float64")
    shuffled = cli("train", *QUICK, *words.replace("--no-shuffle ", "").split()).err
    assert shuffled != err


def test_early_stop(cli):
    words = "--epochs 50 --early-stop 0 --optimizer sgd --learning-rate 20"
    err = cli("train", *QUICK, *words.split()).err
    assert "validation_cost has not improved" in err
    assert "epoch 50/50" not in err


def test_plot_and_snapshots(cli, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    result = cli("train", *QUICK, "--plot", "--folder", "run", "--snapshot-step", 1e-6)
    assert Path("run/plot.png").read_bytes().startswith(b"\x89PNG")
    assert "samples/s" in result.err


def test_grey_folder_with_a_limit(cli, pets):
    result = cli("train", pets, "--network", "mlp", "--grey", "--size", 7, "--limit", 6, "--validation", 0.3)
    assert result.err.startswith("6 samples of (1, 7, 7) in 2 classes")


def test_folder_with_one_picture_of_each_class(cli, pets, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "few" / name).mkdir(parents=True)
        (tmp_path / "few" / name / "0.png").write_bytes((pets / name / "0.png").read_bytes())
    result = cli("train", "few", "--network", "mlp", "--epochs", 2, "--early-stop", 5)
    assert result.status == 0
    assert "validation" not in result.err


# ---------------------------------------------------------------------------------------------- summary, info, help


@pytest.mark.parametrize("name", NETWORKS)
def test_summary_of_a_name(cli, name):
    out = cli("summary", name, "--input", "3x12x14", "--classes", 7).out
    assert "(7,)" in out
    assert cli("summary", name).out != out


def test_summary_of_the_diary(cli):
    out = cli("summary", "diary").out
    assert "(64, 23, 23)" in out
    assert "4,333,696" in out


def test_summary_of_files(cli, digits, architecture):
    assert "101,770" in cli("summary", digits).out
    assert "7,850" in cli("summary", architecture({"type": "Flatten"}, DENSE)).out


def test_info_tells_what_is_here(cli, monkeypatch, tmp_path):
    cli("info")  # kernels are loaded from the usual cache
    (tmp_path / "mnist").mkdir()
    monkeypatch.setenv("GEDANKEN_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    rows = dict(line.split("  ", 1) for line in cli("info").out.splitlines())
    assert rows["gedanken"].strip() == gedanken.__version__
    assert rows["llvmlite"].strip() == metadata.version("llvmlite")
    assert "yes" in rows["engine numpy"]
    assert rows["precision bf16"].strip().startswith(("yes: cpu", 'no: precision "bf16" needs'))
    assert "usable of" in rows["processors"]
    assert rows["BLAS"].endswith("OPENBLAS_NUM_THREADS=3")
    assert rows["data folder"].endswith(f"{tmp_path} (has mnist)")
    assert rows["cache folder"].endswith("(missing)")


def test_info_without_a_data_folder(cli, monkeypatch):
    monkeypatch.delenv("GEDANKEN_DATA", raising=False)
    assert "set GEDANKEN_DATA" in cli("info").out


def test_version(cli):
    assert cli("--version") == (0, f"gedanken {gedanken.__version__}\n", "")


def commands() -> dict[str, ArgumentParser]:
    (choices,) = (action.choices for action in make_parser()._actions if isinstance(action.choices, dict))
    return choices


@pytest.mark.parametrize("name", commands())
def test_help_explains_every_option(cli, name):
    result = cli(name, "--help")
    assert result.status == 0
    text = " ".join(result.out.split())
    for action in commands()[name]._actions:
        assert action.help, action.dest
        for option in action.option_strings:
            assert option in result.out
        if action.default not in (None, False, "==SUPPRESS=="):
            assert f"(default: {action.default})" in text, action.dest
    assert max(map(len, result.out.splitlines())) <= 86


def test_help_lists_the_commands(cli):
    out = cli("--help").out
    assert all(f"\n    {name} " in out for name in commands())


def test_fit_and_train_have_the_same_options():
    renamed = {"validation_set": "validation", "shuffle": "no_shuffle", "progress": "quiet", "callbacks": "early_stop"}
    fit = set(inspect.signature(Network.fit).parameters) - {"self", "labels", "weights"}
    assert {renamed.get(name, name) for name in fit} <= {action.dest for action in commands()["train"]._actions}


def test_page_names_every_option():
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
    for parser in commands().values():
        for action in parser._actions:
            assert all(option in page for option in action.option_strings if option not in ("-h", "--help"))
