"""The command line where standard streams are closed, full or left, and where names are no text."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gedanken
from gedanken import Network

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX and its streams")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(gedanken.__file__).parents[1])}
GEDANKEN = f"{sys.executable} -m gedanken"
TRAIN = "train drawn-digits --network mlp --limit 40 --epochs 2 --output m"
SOON = "--engine numpy"  # which starts sooner, where it is not the engine that matters


def shell(words: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        f"{GEDANKEN} {words}",
        shell=True,
        cwd=folder,
        env={**ENVIRONMENT, **variables},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=120,
    )


STREAMS = [
    *("", ">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full"),
    *(">&- --quiet", "<&- >&- 2>&- --quiet"),
]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no full device")
@pytest.mark.parametrize("streams", STREAMS)
def test_a_training_goes_on_whatever_becomes_of_its_streams(streams: str, tmp_path: Path) -> None:
    done = shell(f"{TRAIN} {streams}", tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "Traceback" not in done.stderr
    assert Network.load(tmp_path / "m").epoch == 2
    assert os.listdir(tmp_path) == ["m"]


def test_a_training_goes_on_when_its_reader_has_gone(tmp_path: Path) -> None:
    done = shell(f"{TRAIN} --epochs 30 2>&1 | head -1; wait", tmp_path)
    assert done.stdout.count("\n") == 1
    assert Network.load(tmp_path / "m").epoch == 30


HELP = ["--help", "train --help"]
RESULTS = [
    "--version",
    *HELP,
    "info",
    "summary mlp",
    "evaluate {model} drawn-digits --limit 20",
    "predict {model} {scan}",
]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no full device")
@pytest.mark.parametrize("command", RESULTS)
def test_results_arrive_or_the_status_says_that_they_did_not(command, tmp_path, digits, scans):
    words = command.format(model=digits, scan=scans[0][0])
    whole = shell(words, tmp_path)
    assert (whole.returncode, whole.stderr) == (0, "")
    closed = shell(f"{words} >&-", tmp_path)
    assert (closed.returncode, closed.stderr) == (2, "gedanken: error: standard output: is closed\n")
    full = shell(f"{words} >/dev/full", tmp_path)
    assert (full.returncode, full.stderr) == (2, "gedanken: error: standard output: No space left on device\n")
    others = ("2>&-", "<&-", "2>/dev/full", "<&- 2>&-")
    # One of those that print without a network, and one of those with one, stand for the others.
    for streams in others if command in ("--version", "predict {model} {scan}") else others[-1:]:
        done = shell(f"{words} {streams}", tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, whole.stdout, "")
    assert shell(f"{words} <&- >&- 2>&-", tmp_path).returncode == 2


@pytest.mark.parametrize("streams", ["2>/dev/full", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["train nothing", "train --epochs x"])
def test_an_error_that_nobody_can_read_is_still_a_status(words: str, streams: str, tmp_path: Path) -> None:
    done = shell(f"{words} {streams}", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


# ------------------------------------------------------------------ places and ends


PLACES = ["/proc/x", "/dev/null", "''", "new/", "/dev/stderr", "x" * 256, "pipe", "shut/m", "read-only"]


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_takes_no_model_is_told_before_the_training(place: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "read-only").touch(0o444)
    (tmp_path / "shut").write_text("no folder")
    done = shell(f"train drawn-digits --network mlp --limit 40 --epochs 2 --output {place}", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gedanken: error: ")
    assert done.stderr.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == ["pipe", "read-only", "shut"]


def test_a_training_that_fails_leaves_no_folder_for_its_model(tmp_path: Path) -> None:
    done = shell("train drawn-digits --limit 40 --network mlp --learning-rate 1e30 --output a/b/m", tmp_path)
    assert done.returncode == 2
    assert os.listdir(tmp_path) == []


LOST = """
import os, sys
from gedanken import Callback, Network
from gedanken.cli import train
from gedanken.cli.main import main
fit = Network.fit
def fit_and_fill(self, *data, **options):
    history = fit(self, *data, **options)
    os.mkdir("m")  # what was free before the training is taken after it
    return history
Network.fit = fit_and_fill
sys.exit(main(sys.argv[1:]))
"""


def test_a_model_whose_place_is_lost_is_saved_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    words = [sys.executable, "-c", LOST, *f"{TRAIN} {SOON}".split()]
    environment = {**ENVIRONMENT, "TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (found,) = (tmp_path / "tmp").rglob("m")
    assert done.stderr.splitlines()[-1] == (
        f"gedanken: error: m: Is a directory; the model was saved as {found} instead"
    )
    assert Network.load(found).epoch == 2


FULL = LOST.replace('os.mkdir("m")', "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))").replace(
    "import os, sys", "import os, resource, sys"
)


@pytest.mark.parametrize("output", ["m", "new/er/m"])
@pytest.mark.parametrize("tmp", ["tmp", "none"])
def test_a_model_that_has_room_nowhere_is_told_of_by_its_own_name(output: str, tmp: str, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "none").write_text("no folder")
    program = FULL if tmp == "tmp" else f"import tempfile\ntempfile.tempdir = {str(tmp_path / 'none')!r}\n{FULL}"
    words = [sys.executable, "-c", program, *f"{TRAIN} {SOON}".split()]
    words[words.index("m")] = output
    environment = {**ENVIRONMENT, "TMPDIR": str(tmp_path / tmp)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"gedanken: error: {output}: File too large; it could not be saved elsewhere either (")
    assert str(tmp_path / tmp) in last
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "none", tmp_path / "tmp"]


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")]
)
def test_a_training_that_is_ended_saves_what_was_learned(number: int, status: int, word: str, tmp_path: Path) -> None:
    words = "train drawn-digits --network mlp --limit 500 --epochs 1000000 --output m"
    with subprocess.Popen(
        [sys.executable, "-m", "gedanken", *words.split()],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        cwd=tmp_path,
    ) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("epoch 2/"):
                break
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == status
    assert rest.splitlines()[-2:] == ["model saved as m", f"gedanken: stopped: by {word}"]
    assert Network.load(tmp_path / "m").epoch >= 2


# ------------------------------------------------------------------ names


NAMES = {b"caf\xe9", "größe".encode(), b"\x1b[31mred", b"new\nline", "日本".encode(), b"\xff\xfe", b"a b", b"'quoted\""}


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of classes whose names are no text, or steer terminals."""
    folder = tmp_path_factory.mktemp("odd")
    draws = np.random.default_rng(0)
    for name in NAMES:
        for k in range(4):
            place = os.path.join(os.fsencode(folder), b"data", name)
            try:
                os.makedirs(place, exist_ok=True)
            except OSError:
                pytest.skip("a file system that takes text only")
            Image.fromarray(draws.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(
                os.fsdecode(os.path.join(place, b"p\xff\x1b%d.png" % k))
            )
    return folder


LOCALES = [{}, {"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
LOCALES += [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}]


@pytest.mark.parametrize("variables", LOCALES, ids=lambda v: " ".join(v.values()))
def test_names_of_any_kind_in_any_locale(variables: dict[str, str], odd_folder: Path) -> None:
    words = f"train data --network mlp --size 8 --validation 0.25 --output m {SOON}"
    trained = shell(words, odd_folder, **variables)
    assert (trained.returncode, trained.stdout) == (0, ""), trained.stderr
    names = Network.load(odd_folder / "m").class_names
    assert names is not None
    assert len(names) == len(NAMES)
    evaluated = shell(f"evaluate m data {SOON}", odd_folder, **variables)
    assert (evaluated.returncode, evaluated.stderr) == (0, "")
    predicted = shell(f"predict m data/*/* {SOON}", odd_folder, **variables)
    assert (predicted.returncode, predicted.stderr) == (0, "")
    assert len(predicted.stdout.splitlines()) == 4 * len(NAMES)
    assert "\x1b" not in predicted.stdout
    rows = json.loads(shell(f"predict m data/*/* --json {SOON}", odd_folder, **variables).stdout)
    assert {row["class"] for row in rows} <= set(names)
    missing = shell(f"predict m 'data/\x1b[31m.png' 'no\\nsuch' {SOON}", odd_folder, **variables)
    assert missing.returncode == 2
    assert "\x1b" not in missing.stderr + missing.stdout


def test_an_old_name_in_another_locale_is_the_same_class(odd_folder: Path) -> None:
    shell(f"train data --network mlp --size 8 --validation 0.25 --output utf8 {SOON}", odd_folder)
    for variables in ({"LC_ALL": "C"}, {}):
        done = shell(f"evaluate utf8 data {SOON}", odd_folder, **variables)
        assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------------ numbers


def test_a_model_whose_outputs_are_not_finite_tells_no_class(cli, pets, pets_model, tmp_path):
    net = Network.load(pets_model)
    for view in net._plan.arrays().values():
        view[...] = np.finfo(np.float32).max
    net.save(tmp_path / "m")
    for words in ([], ["--json"]):
        result = cli("predict", tmp_path / "m", pets / "cat" / "0.png", *words)
        assert (result.status, result.out) == (2, "")
        assert "gives nan for" in result.err or "gives [nan" in result.err


ABSURD = {
    "classes": ["summary", "mlp", "--classes", 2**62],
    "more classes": ["summary", "mlp", "--classes", 10**30],
    "input": ["summary", "mlp", "--input", f"{10**20}x1x1"],
    "large input": ["summary", "diary", "--input", "1x65535x65535"],
    "size": ["train", "pets", "--size", f"{10**9}"],
    "seed": ["train", "drawn-digits", "--limit", 40, "--seed", 10**30],
    "rate": ["train", "drawn-digits", "--limit", 40, "--learning-rate", "nan"],
}


@pytest.mark.parametrize("words", ABSURD.values(), ids=ABSURD)
def test_absurd_numbers_are_refused(cli, words, tmp_path):
    result = cli(*words)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("gedanken: error: ")
    assert result.err.count("\n") == 1


VAST = {
    "units": {"input": [4], "layers": [{"type": "FullyConnectedLayer", "n_units": 2**62}]},
    "input": {"input": [2**60, 4], "layers": [{"type": "ReLU"}]},
    "deep": {"input": [4], "layers": [{"type": "Sequential", "layers": []}] * 30_000},
}


@pytest.mark.parametrize("content", VAST.values(), ids=VAST)
def test_vast_architectures_are_refused(cli, content, tmp_path):
    (tmp_path / "net.json").write_text(json.dumps(content))
    result = cli("summary", "net.json")
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("gedanken: error: ")


def test_an_architecture_that_is_a_pipe_is_not_waited_for(cli, tmp_path):
    os.mkfifo(tmp_path / "net.json")
    assert "is a pipe" in cli("summary", "net.json").err


# ------------------------------------------------------------------ without llvmlite


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "llvmlite":
            raise ImportError("No module named 'llvmlite'")
sys.meta_path.insert(0, Block())
from gedanken.cli.main import main
status = main(sys.argv[1:])
assert "llvmlite" not in sys.modules
sys.exit(status)
"""


@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_predicting_needs_numpy_alone(engine: str, tmp_path, digits, scans):
    words = [sys.executable, "-c", BLOCKED, "predict", str(digits), *map(str, scans[0]), "--engine", engine]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with_kernels = shell(f"predict {digits} {' '.join(map(str, scans[0]))}", tmp_path)
    classes = [[line.split()[1] for line in one.stdout.splitlines()] for one in (done, with_kernels)]
    assert classes[0] == classes[1]
