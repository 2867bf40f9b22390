"""Mistakes: each is one line on standard error and exit status 2, and nothing is written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gedanken import Embedding, Flatten, FullyConnectedLayer, Network, SoftMax, Vocabulary

TRAIN = ["train", "drawn-digits", "--network", "mlp", "--limit", "20"]
NET = ["train", "drawn-digits", "--limit", "20", "--network"]

WORDS = {
    "nothing": ([], "required: COMMAND; see gedanken --help"),
    "command": (["trian"], "'trian'"),
    "no data": (["train"], "DATA must be given, or --resume RUN of a run that remembers it"),
    "unknown option": ([*TRAIN, "--epoch", "3"], "unrecognized arguments: --epoch 3"),
    "no number": ([*TRAIN, "--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
    "size": (["train", "x", "--size", "3xy"], "such as 32x48, got '3xy'; see gedanken train --help"),
    "three sizes": (["train", "x", "--size", "3x4x5"], "--size must be HEIGHTxWIDTH"),
    "data set": (["train", "mnits"], "got 'mnits'; did you mean 'mnist'?"),
    "size of a data set": ([*TRAIN, "--size", "9"], "--size and --grey must go with a folder"),
    "grey data set": ([*TRAIN, "--grey"], "--size and --grey must go with a folder"),
    "network": ([*NET, "dairy"], "got 'dairy'; did you mean 'diary'?"),
    "architecture": ([*NET, "missing.json"], "missing.json: No such file"),
    "optimizer": ([*TRAIN, "--optimizer", "adamm"], "did you mean 'adam'?"),
    "cost": ([*TRAIN, "--cost", "cross_entorpy"], "did you mean 'cross_entropy'?"),
    "engine": ([*TRAIN, "--engine", "cudda"], "did you mean 'cuda'?"),
    "dtype": ([*TRAIN, "--dtype", "float16"], "dtype must be one of float32, float64"),
    "precision": ([*TRAIN, "--precision", "bf61"], "did you mean 'bf16'?"),
    "precision and dtype": ([*TRAIN, "--precision", "bf16", "--dtype", "float64"], 'dtype must be "float32"'),
    "epochs": ([*TRAIN, "--epochs", "0"], "epochs must be a whole number of at least 1, got 0"),
    "mini-batch": ([*TRAIN, "--mini-batch-size", "-1"], "mini_batch_size must be"),
    "rate": ([*TRAIN, "--learning-rate", "0"], "Adam learning_rate must be a number in (0, inf), got 0.0"),
    "validation": (
        [*TRAIN, "--validation", "1.5"],
        "validation_set must be (data, labels), (data, labels, weights), a Generator, or a fraction in (0, 1)",
    ),
    "no name of data": (["train", ""], "argument DATA: must be a name, got ''"),
    "no name of a model": (["evaluate", "", "mnist"], "argument MODEL: must be a name, got ''"),
    "no name of a file": (["predict", "m", ""], "argument FILE: must be a name, got ''"),
    "limit": ([*TRAIN, "--limit", "0"], "--limit must be a whole number of at least 1"),
    "seed": ([*TRAIN, "--seed", "-1"], "seed must be"),
    "snapshots": ([*TRAIN, "--snapshot-step", "0"], "snapshot_step must be"),
    "patience": ([*TRAIN, "--early-stop", "-1"], "EarlyStopping patience must be"),
    "output": ([*TRAIN, "--output", "."], ".: Is a directory"),
    "output below a file": ([*TRAIN, "--output", "/dev/null/m"], "/dev/null"),
    "model": (["evaluate", "missing.safetensors", "mnist"], "missing.safetensors cannot be read: No such file"),
    "summary": (["summary", "missing.safetensors"], "missing.safetensors cannot be read: No such file"),
    "summary of a name": (["summary", "dairy"], "did you mean 'diary'?"),
    "summary input": (["summary", "mlp", "--input", "0x5"], "input shape must be a whole number"),
    "summary classes": (["summary", "mlp", "--classes", "0"], "n_units must be"),
    "too small": (["summary", "diary", "--input", "1x3x3"], "layer 3 "),
}


def check(result, fragment: str, tmp_path: Path, before: set[Path]) -> None:
    assert result.status == 2
    assert result.err.startswith("gedanken: error: ")
    assert result.err.count("\n") == 1
    assert fragment in result.err
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("words", "fragment"), WORDS.values(), ids=WORDS)
def test_mistakes_in_words(cli, tmp_path, words, fragment):
    check(cli(*words), fragment, tmp_path, set())


FILES = {
    "no JSON": ("{", "must be JSON"),
    "a name twice": ('{"input": [4], "input": [5], "layers": []}', "a name stands twice in an object"),
    "deep": ("[" * 100_000, "must be JSON"),
    "not text": (b"\xff\x00\x81", "must be JSON"),
    "a list": ("[]", 'must be {"input"'),
    "keys": ('{"input": [1], "layer": []}', 'must be {"input"'),
    "input": ('{"input": 5, "layers": [{"type": "ReLU"}]}', 'must be {"input"'),
    "input axis": ('{"input": [1, "a"], "layers": [{"type": "ReLU"}]}', "input shape must be a whole number"),
    "no layers": ('{"input": [1, 28, 28], "layers": []}', "at least one layer"),
    "type": ('{"input": [1, 28, 28], "layers": [{"type": "Softmax"}]}', "did you mean 'SoftMax'?"),
    "no type": ('{"input": [1, 28, 28], "layers": [{"n_units": 3}]}', "type must be one of"),
    "argument": (
        '{"input": [784], "layers": [{"type": "FullyConnectedLayer", "units": 3}]}',
        "has no argument 'units'; here it is n_units",
    ),
    "value": ('{"input": [784], "layers": [{"type": "FullyConnectedLayer", "n_units": 0}]}', "got 0"),
    "no layer": ('{"input": [784], "layers": [{"type": "Adam"}]}', "layers[0] must be a layer"),
    "does not fit": (
        '{"input": [1, 28, 28], "layers": [{"type": "FullyConnectedLayer", "n_units": 3}]}',
        "add Flatten() before it",
    ),
    "other data": ('{"input": [3, 28, 28], "layers": [{"type": "Flatten"}]}', "must have shape (N, 3, 28, 28)"),
    "classes": (
        '{"input": [784], "layers": [{"type": "FullyConnectedLayer", "n_units": 3}, {"type": "SoftMax"}]}',
        "10",
    ),
    "too large": (
        '{"input": [784], "layers": [{"type": "FullyConnectedLayer", "n_units": 100000000000}, {"type": "SoftMax"}]}',
        "FullyConnectedLayer n_units must be below 2**31, got 100000000000",
    ),
    "beyond memory": (
        '{"input": [784], "layers": [{"type": "FullyConnectedLayer", "n_units": 2147483647}, {"type": "SoftMax"}]}',
        "the layers must fit into memory, got 1,685,774,662,895 parameters of float32",
    ),
}


@pytest.mark.parametrize(("content", "fragment"), FILES.values(), ids=FILES)
def test_mistakes_in_architecture_files(cli, tmp_path, content, fragment):
    file = tmp_path / "mine.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    check(cli(*NET, file), fragment, tmp_path, {file})


def cut(content: bytes) -> bytes:
    return content[:-100]


def flipped(content: bytes) -> bytes:
    return content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]


@pytest.mark.parametrize(
    "damage", [cut, flipped, lambda _: b"", lambda _: b"GIF89a" * 99], ids=["cut", "flip", "no", "gif"]
)
@pytest.mark.parametrize("command", ["evaluate", "predict", "summary"])
def test_damaged_models(cli, tmp_path, digits, command, damage: Callable[[bytes], bytes]):
    file = tmp_path / "bad.safetensors"
    file.write_bytes(damage(digits.read_bytes()))
    words = {"evaluate": ["drawn-digits"], "predict": ["a.png"], "summary": []}[command]
    check(cli(command, file, *words), str(file), tmp_path, {file})


def test_classes_that_the_model_does_not_know(cli, tmp_path, digits, pets):
    check(cli("evaluate", digits, pets), "a class of DATA must be one of 0, 1,", tmp_path, set())


def test_names_that_do_not_fit_the_model(cli, tmp_path, pets, pets_model):
    model = tmp_path / "m"
    net = Network.load(pets_model)
    net.class_names = ["cat", "dog", "cow"]
    net.save(model)
    result = cli("predict", model, pets / "cat" / "0.png")
    check(result, "the model's class names must be 2, got ('cat', 'dog', 'cow')", tmp_path, {model})


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_model_of_tokens(cli, tmp_path, command):
    model, texts = tmp_path / "m", tmp_path / "texts.txt"
    net = Network().input((5,)).add(Embedding(4, 2)).add(Flatten()).add(FullyConnectedLayer(2)).add(SoftMax())
    net.vocabulary = Vocabulary(["hello", "world"])
    net.regression().save(model)
    texts.write_text("hello world\n")
    fragment = "the model must take pictures or rows of features here; what takes tokens or texts is used from Python"
    check(cli(command, model, texts), fragment, tmp_path, {model, texts})


def test_pictures_that_are_none(cli, tmp_path, digits):
    (tmp_path / "a.png").write_text("no picture")
    (tmp_path / "b.png").write_text("no picture")
    check(cli("predict", digits, "a.png", "b.png"), "b.png", tmp_path, set(tmp_path.iterdir()))


def test_one_damaged_picture_is_a_warning(cli, tmp_path, digits, scans):
    (tmp_path / "bad.png").write_text("no picture")
    result = cli("predict", digits, "bad.png", scans[0][0])
    assert result.status == 1
    assert result.err.startswith("gedanken: warning: ")
    assert result.err.count("\n") == 1
    assert len(result.out.splitlines()) == 1


def test_folder_with_one_class_folder(cli, tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "one" / "cats").mkdir(parents=True)
    image.new("L", (8, 8)).save(tmp_path / "one" / "cats" / "a.png")
    before = set(tmp_path.rglob("*"))
    check(cli("train", "one"), "must hold at least two folders of classes, got ('cats',)", tmp_path, before)


def test_folder_without_class_folders(cli, tmp_path):
    (tmp_path / "empty").mkdir()
    check(cli("train", "empty"), "one folder of pictures per class", tmp_path, set(tmp_path.iterdir()))


def test_output_that_is_no_class(cli, tmp_path, architecture):
    layer = {"type": "ConvolutionLayer", "n_filter": 1, "width_filter": 1, "height_filter": 1}
    file = architecture(layer, {"type": "SoftMax"})
    check(cli(*NET, file), "cross_entropy needs an output (C,)", tmp_path, {file})


def test_debug_shows_where_an_error_came_from(cli):
    result = cli("evaluate", "missing", "mnist", "--debug")
    assert result.status == 2
    assert result.err.startswith("Traceback")
    assert "read_model" in result.err
    assert result.err.splitlines()[-1].startswith("gedanken: error: missing cannot be read")
