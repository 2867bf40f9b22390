"""The words that the command line understands, with the help that explains them."""

import argparse
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from gedanken import __version__
from gedanken.cli.output import show, tell
from gedanken.engine.select import ENGINES
from gedanken.named import OPTIMIZERS

LARGEST_SIDE = 65_535
# Costs of what the networks of a command give: shares of classes, answers and values.
OF_LABELS = ["cross_entropy", "binary_cross_entropy", "mean_squared", "mean_absolute", "huber", "hinge"]
DEFAULT = "(default: %(default)s)"
NAMES = "diary, lenet5, vgg, resnet20 (convolutions), mlp (one hidden layer), linear (none)"
NETWORK = f"{NAMES} or an architecture file (.json) (default: diary; of a svmlight file linear)"
DATA = (
    "data set (mnist, fashion-mnist, cifar10, drawn-digits), folder that has one folder of pictures per class, or file "
    "in the svmlight format"
)

DESCRIPTION = """\
Train, judge and use neural networks on pictures and on rows that are mostly zeros.

  gedanken train drawn-digits --limit 5000 --network mlp --output digits.safetensors
  gedanken evaluate digits.safetensors drawn-digits
  gedanken predict digits.safetensors scan.png --invert"""

TRAIN = """\
Train a network and save it.

DATA is a data set's name, or a folder such as pets/ with pictures in pets/cat/
and pets/dog/. A data set is looked for in $GEDANKEN_DATA and the cache folder,
then downloaded; drawn-digits needs no file.

DATA can also be a file in the svmlight format, gzipped or not: lines such as
"-1 3:1 11:0.5", a label and those features that are not 0. Labels are classes.

Ctrl-C ends the training after the running step and saves the network. A run
with checkpoints goes on where it was, after Ctrl-C or kill -9 alike, and ends
with the same bytes as one that was never stopped.

  gedanken train mnist --epochs 9 --checkpoint-every 30s --folder runs/nine
  gedanken train --resume runs/nine"""

TRAIN_EXAMPLES = """\
examples:
  gedanken train mnist --epochs 3 --output mnist.safetensors
  gedanken train drawn-digits --limit 5000 --network mlp
  gedanken train pets/ --size 48x64 --early-stop 3 --output pets.safetensors
  gedanken train cifar10 --network mine.json --optimizer adamw
  gedanken train a9a --epochs 5 --output a9a.safetensors

An architecture file names layers with the arguments that they have in Python:
  {"input": [1, 28, 28],
   "layers": [{"type": "Flatten"},
              {"type": "FullyConnectedLayer", "n_units": 10},
              {"type": "SoftMax"}]}"""

CHECK = """\
Say in seconds, before a long training, what is wrong with network and data:
samples, labels, layers, the first cost, gradients, units that never fire, and
whether one mini-batch can be learnt at all. Nothing is trained or written.

  gedanken check drawn-digits --network mlp
  gedanken check pets/ --network mine.json --learning-rate 0.01
  gedanken check a9a

DATA and options are those of "gedanken train". The exit status is 1 where
something worse than a note is found."""

EVALUATE = """\
Show cost and metrics of a model over the test part of a data set, over all
pictures of a folder or over all rows of a file in the svmlight format.

  gedanken evaluate mnist.safetensors mnist
  gedanken evaluate pets.safetensors other-pets/
  gedanken evaluate a9a.safetensors a9a.t

Classes are matched by name, where the model knows names."""

PREDICT = """\
Tell the class of pictures: one line each of file, class and probability. Of a
model that takes rows the files are in the svmlight format, and each row has a
line, which begins with FILE:ROW.

  gedanken predict pets.safetensors holiday/*.jpg
  gedanken predict mnist.safetensors scan.png --invert --json
  gedanken predict a9a.safetensors a9a.t

Pictures may have any size and format. They are cut and resized to the model's
input, grey or in colour as it needs them. The probability is the network's
output for the class. A model that train has saved knows the names of its
classes; of any other model they are numbers.

The exit status is 1 where some of the pictures could not be read."""

SUMMARY = """\
Show the layers of a network: shapes, parameters, and what one sample costs in
multiply-adds and memory.

  gedanken summary mnist.safetensors
  gedanken summary mine.json
  gedanken summary diary --input 3x32x32 --classes 10
  gedanken summary linear --input 123 --classes 2"""

RUNS = """\
List runs: when each began, how far it is, what its last epoch said, and how it
ended. A run has a folder where it was given --folder or --checkpoint-every.

  gedanken runs
  gedanken runs experiments/ runs/2026-11-27_10-00-00_4fe2aa"""

COMPARE = """\
Say in what two runs differ: what they were made of, data by a digest, and the
step at which their costs first part.

  gedanken compare runs/one runs/other

The exit status is 1 where the costs are not the same to the bit."""

HOGWILD = """\
Repeat the experiments of the HOGWILD! paper: how much faster several workers
are that write to the same parameters, and what the result costs.

PROBLEM is svm (a support vector machine), completion (of a matrix) or cuts (of
a graph); all of them, if none is named. Data are made with the statistics of
the paper's; of svm they may come from files, too. Each way trains anew with 1, 2,
4 ... workers. The first epoch is not timed.

  racy            no locks, the paper's own
  atomic          no locks, and no addition is lost
  locked          one worker at a time
  per-coordinate  a lock for each row of a matrix
  round-robin     one worker after the other

A table goes to standard output, the figure to a file."""

HOGWILD_EXAMPLES = """\
examples:
  gedanken hogwild
  gedanken hogwild svm --data a9a w8a --workers 8 --epochs 20
  gedanken hogwild cuts --samples 4000000 --update racy locked"""

LAUNCH = """\
Run a Python script as several ranks, on this machine or on several, with the
launcher of the MPI that is installed (pip install gedanken[mpi]). In the script
fit(parallel=DataParallel()) shares each mini-batch among them; the same script
runs alone unchanged.

  gedanken launch -n 4 train.py
  gedanken launch --hosts a:2,b:2 train.py --epochs 3
  gedanken launch --ray -n 4 train.py

What ranks other than 0 print is not shown. An error on one rank ends all. Where
a rank is lost, or gives no sign for longer than the deadline, all are started
again: fit(callbacks=[Checkpoint("30s")], resume="runs/mine") then goes on."""

INFO = """\
Show versions, optional packages, engines, processors and data folders: what
runs here, and what does not and why."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and whose help and version arrive or are an error."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        tell("error", f"{message}; see {self.prog} --help")
        raise SystemExit(2)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help or version. Its private name is the one place where argparse lets others write."""
        show(message.removesuffix("\n"))


def make_parser(train: Mapping[str, Any] = MappingProxyType({})) -> argparse.ArgumentParser:
    """Return the parser; what it returns has `command` and the options under their own names.

    Args:
        train: what stands for arguments of `gedanken train` that are left out, in place of the defaults.
    """
    parser = _Parser(prog="gedanken", description=DESCRIPTION, epilog="'gedanken COMMAND --help' explains a command.")
    parser.add_argument("--version", action="version", version=f"gedanken {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True)

    def command(name: str, short: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=short, description=description, epilog=epilog)
        made.add_argument("--debug", action="store_true", help="show where an error came from")
        return made

    made = command("train", "train a network and save it", TRAIN, TRAIN_EXAMPLES)
    _add_train(made)
    made.set_defaults(**train)
    _add_check(command("check", "say what is wrong with network and data", CHECK))
    evaluate = command("evaluate", "show cost and metrics of a model", EVALUATE)
    evaluate.add_argument("model", type=_name, metavar="MODEL", help="model file")
    evaluate.add_argument("data", type=_name, metavar="DATA", help=DATA)
    evaluate.add_argument("--limit", type=int, metavar="N", help="only N of the samples (default: all)")
    _add_zero_based(evaluate)
    _add_engine(evaluate)
    _add_predict(command("predict", "tell the class of pictures or rows", PREDICT))
    summary = command("summary", "show the layers of a network", SUMMARY)
    about = f"model file, architecture file (.json), or a name: {NAMES}"
    summary.add_argument("network", type=_name, metavar="NETWORK", help=about)
    about = "of a network with a name (default: "
    summary.add_argument("--input", type=_whole_numbers, metavar="CxHxW", help=f"input {about}1x28x28)")
    summary.add_argument("--classes", type=int, metavar="N", default=10, help=f"classes {about}%(default)s)")
    _add_engine(summary)
    _add_runs(
        command("runs", "list the runs in folders", RUNS), command("compare", "say in what two runs differ", COMPARE)
    )
    _add_hogwild(command("hogwild", "repeat the experiments of the HOGWILD! paper", HOGWILD, HOGWILD_EXAMPLES))
    _add_launch(command("launch", "run a script as several ranks", LAUNCH))
    command("info", "show what runs here", INFO)
    return parser


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument("data", type=_name, metavar="DATA", nargs="?", help=DATA)
    train.add_argument("--network", metavar="NAME", help=NETWORK)
    train.add_argument("--output", metavar="FILE", help="where the model is saved (default: nowhere)")
    train.add_argument("--quiet", action="store_true", help="show no progress")

    learning = train.add_argument_group("learning")
    learning.add_argument("--epochs", type=int, metavar="N", default=1, help=f"passes over the data {DEFAULT}")
    _add_rule(learning)
    early = "end when the validation cost has not improved for more than N epochs (default: never)"
    learning.add_argument("--early-stop", type=int, metavar="N", help=early)
    learning.add_argument("--parallel", metavar="NAME", help="data or hogwild: several workers (default: one)")
    learning.add_argument("--workers", type=int, metavar="N", help="of --parallel (default: one for each processor)")

    samples = _add_samples(train)
    samples.add_argument("--no-shuffle", action="store_true", help="keep the order of the samples in each epoch")
    _add_record(train)


def _add_check(check: argparse.ArgumentParser) -> None:
    check.add_argument("data", type=_name, metavar="DATA", help=DATA)
    check.add_argument("--network", metavar="NAME", help=NETWORK)
    _add_rule(check.add_argument_group("learning"))
    _add_samples(check)


def _add_rule(learning: Any) -> None:
    """Add how a network learns, and on what."""
    learning.add_argument("--mini-batch-size", type=int, metavar="N", default=128, help=f"samples per step {DEFAULT}")
    names = ", ".join(OPTIMIZERS)
    learning.add_argument("--optimizer", metavar="NAME", default="adam", help=f"{names} {DEFAULT}")
    learning.add_argument("--learning-rate", type=float, metavar="RATE", help="> 0 (default: the optimizer's own)")
    learning.add_argument("--cost", metavar="NAME", default="cross_entropy", help=f"{', '.join(OF_LABELS)} {DEFAULT}")
    learning.add_argument(
        "--seed", type=int, metavar="N", default=0, help=f"of weights, order, dropout, division {DEFAULT}"
    )
    _add_engine(learning)
    learning.add_argument("--dtype", metavar="NAME", default="float32", help=f"float32 or float64 {DEFAULT}")
    products = f"of products: full, or bf16 on a processor with AMX {DEFAULT}"
    learning.add_argument("--precision", metavar="NAME", default="full", help=products)


def _add_predict(predict: argparse.ArgumentParser) -> None:
    predict.add_argument("model", type=_name, metavar="MODEL", help="model file")
    about = "picture, or of a model that takes rows a file in the svmlight format"
    predict.add_argument("files", type=_name, metavar="FILE", nargs="+", help=about)
    predict.add_argument(
        "--invert", action="store_true", help="swap black and white: for ink on paper and MNIST's kind"
    )
    predict.add_argument("--json", action="store_true", help="print a JSON list for other programs")
    _add_zero_based(predict)
    _add_engine(predict)


def _add_runs(runs: argparse.ArgumentParser, compare: argparse.ArgumentParser) -> None:
    runs.add_argument("folders", type=_name, metavar="FOLDER", nargs="*", help="of a run, or of runs (default: runs)")
    compare.add_argument("run", type=_name, metavar="RUN", help="its folder")
    compare.add_argument("other", type=_name, metavar="OTHER", help="folder of the other one")


def _add_samples(train: argparse.ArgumentParser) -> Any:
    samples = train.add_argument_group("samples")
    held = "share of the samples to validate on, in (0, 1) (default: a data set's test part; else 0.2)"
    samples.add_argument("--validation", type=float, metavar="SHARE", help=held)
    few = "train on N samples only, and validate on as many, of a file on a share of them (default: all)"
    samples.add_argument("--limit", type=int, metavar="N", help=few)
    _add_zero_based(samples)
    size = "of a folder's pictures, in pixels (default: 32x32, or as the architecture file says)"
    samples.add_argument("--size", type=_sizes, metavar="HxW", help=size)
    samples.add_argument("--grey", action="store_true", help="a folder's pictures in grey instead of colour")
    return samples


def _add_record(train: argparse.ArgumentParser) -> None:
    run = train.add_argument_group("checkpoints")
    every = "write a checkpoint each epoch, so many steps or so long: epoch, 500, 30s, 10min (default: never)"
    run.add_argument("--checkpoint-every", metavar="TIME", help=every)
    resume = "go on with a run that was stopped or killed: its folder, or a checkpoint; what is not said is as it was"
    run.add_argument("--resume", type=_name, metavar="RUN", help=resume)

    anyway = "go on though the training is another one now; the result is comparable with none"
    run.add_argument("--anyway", action="store_true", help=anyway)

    record = train.add_argument_group("record")
    record.add_argument("--plot", action="store_true", help="draw cost and accuracy into plot.png of the run's folder")
    record.add_argument("--folder", metavar="FOLDER", help="the run's folder (default: runs/ and the time)")
    every = f"seconds between two snapshots of cost and metrics, shown and drawn {DEFAULT}"
    record.add_argument("--snapshot-step", type=float, metavar="SECONDS", default=10.0, help=every)


def _add_hogwild(hogwild: argparse.ArgumentParser) -> None:
    hogwild.add_argument(
        "problems", type=_name, metavar="PROBLEM", nargs="*", help="svm, completion, cuts (default: all)"
    )
    hogwild.add_argument(
        "--data", type=_name, metavar="FILE", nargs="+", help="svmlight files for svm (default: generated)"
    )
    hogwild.add_argument("--samples", type=int, metavar="N", help="rows, entries or edges of generated data")
    most = "most workers (default: one for each processor, at least 2)"
    hogwild.add_argument("--workers", type=int, metavar="N", help=most)
    hogwild.add_argument("--update", type=_name, metavar="WAY", nargs="+", help="ways to write (default: all)")
    hogwild.add_argument(
        "--epochs", type=int, metavar="N", default=5, help=f"passes over the data, from 2 on {DEFAULT}"
    )
    hogwild.add_argument(
        "--figure", metavar="FILE", default="hogwild.png", help=f"the picture; '' draws none {DEFAULT}"
    )
    hogwild.add_argument("--json", action="store_true", help="print a JSON list for other programs")


def _add_launch(launch: argparse.ArgumentParser) -> None:
    launch.add_argument("-n", type=int, metavar="N", help="how many ranks (default: those of --hosts)")
    launch.add_argument("--hosts", type=_name, metavar="NAME:N,...", help="machines, and how many ranks each gets")
    by_ray = "a Ray cluster places the ranks on its nodes (pip install ray)"
    launch.add_argument("--ray", action="store_true", help=by_ray)
    silent = f"for which a rank may give no sign, 1 at least {DEFAULT}"
    launch.add_argument("--deadline", type=float, metavar="SECONDS", default=10.0, help=f"seconds {silent}")
    again = f"how often all are started again after a rank was lost {DEFAULT}"
    launch.add_argument("--restarts", type=int, metavar="N", default=3, help=again)
    address = "this machine's, as other hosts reach it (default: that on the way to the first of them)"
    launch.add_argument("--address", metavar="ADDRESS", help=address)
    launch.add_argument("script", type=_name, metavar="SCRIPT", help="Python file")
    launch.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="the script's own arguments")


def _add_zero_based(group: Any) -> None:
    group.add_argument(
        "--zero-based", action="store_true", help="features of the file in the svmlight format count from 0, not 1"
    )


def _add_engine(group: Any) -> None:
    group.add_argument("--engine", metavar="NAME", default="auto", help=f"{', '.join(ENGINES)} {DEFAULT}")


def _name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must be a name, got ''")
    return text


def _whole_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be whole numbers with x between, such as 32x48, got {text!r}") from None


def _sizes(text: str) -> tuple[int, ...]:
    sizes = _whole_numbers(text)
    if max(sizes) > LARGEST_SIDE:
        raise argparse.ArgumentTypeError(f"must be at most {LARGEST_SIDE:,} pixels a side, got {text!r}")
    return sizes
