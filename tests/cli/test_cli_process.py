"""The command line as a program of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import gedanken
from gedanken import Network

PROGRAM = [sys.executable, "-m", "gedanken"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(gedanken.__file__).parents[1])}
PIPE = subprocess.PIPE


def start(*words: object, **options: object) -> subprocess.Popen[str]:
    command = [*PROGRAM, *map(str, words)]
    return subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=ENVIRONMENT, **options)


def finish(*words: object) -> tuple[int, str, str]:
    process = start(*words)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_train_evaluate_predict(tmp_path, scans):
    model = tmp_path / "m.safetensors"
    words = "train drawn-digits --network mlp --limit 100 --output"
    status, out, err = finish(*words.split(), model)
    assert (status, out) == (0, "")
    assert [line.split()[0] for line in err.splitlines()] == ["100", "epoch", "model"]
    assert err.splitlines()[-1] == f"model saved as {model}"
    status, out, err = finish("evaluate", model, "drawn-digits", "--limit", 50)
    assert (status, err) == (0, "")
    assert "evaluation of 50 samples: cost" in out
    status, out, err = finish("predict", model, *scans[0])
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == len(scans[0])


def test_error_status(tmp_path):
    status, out, err = finish("summary", tmp_path / "missing.safetensors")
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_help_does_not_import_what_it_does_not_need():
    code = (
        "import sys\nfrom gedanken.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "sys.exit(' '.join({'llvmlite', 'PIL', 'matplotlib', 'pooch', 'gedanken.datasets'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, stderr=PIPE, stdout=PIPE, text=True, check=False
    )
    assert done.stderr.strip() == ""
    assert "Train, judge and use" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="sends a signal of POSIX")
def test_ctrl_c_saves_what_was_learned(tmp_path):
    model = tmp_path / "m.safetensors"
    words = "train drawn-digits --network mlp --limit 500 --epochs 1000000 --output"
    process = start(*words.split(), model)
    assert process.stderr
    for line in process.stderr:
        if line.startswith("epoch 2/"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    saved = f"model saved as {model}"
    assert err.splitlines()[-3:] == ["training ended: Ctrl-C", saved, "gedanken: stopped: by Ctrl-C"]
    assert out == ""
    assert Network.load(model).epoch >= 2


@pytest.mark.skipif(os.name != "posix", reason="sends a signal of POSIX")
def test_ctrl_c_without_output_saves_nothing(tmp_path):
    words = "train drawn-digits --network mlp --limit 500 --epochs 1000000"
    process = start(*words.split(), cwd=tmp_path)
    assert process.stderr
    process.stderr.readline()
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "not saved" in err
    assert list(tmp_path.iterdir()) == []


def test_nobody_reads(digits, scans):
    process = start("predict", digits, *scans[0])
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 141


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes as a name")
def test_names_that_are_no_text(tmp_path, digits, scans):
    odd = os.fsencode(tmp_path) + b"/\xff.png"
    Path(os.fsdecode(odd)).write_bytes(scans[0][0].read_bytes())
    command = [*map(os.fsencode, PROGRAM), b"predict", os.fsencode(digits), odd]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\udcff.png" in done.stdout


def test_training_that_went_astray_keeps_the_older_model(tmp_path, digits):
    model = tmp_path / "m"
    model.write_bytes(digits.read_bytes())
    words = "train drawn-digits --network mlp --limit 20 --optimizer sgd --learning-rate 1e30 --output"
    status, out, err = finish(*words.split(), model)
    assert status == 2
    assert out == ""
    assert err.splitlines()[-1].endswith("nothing was saved; try a lower --learning-rate")
    assert model.read_bytes() == digits.read_bytes()
    assert list(tmp_path.iterdir()) == [model]
