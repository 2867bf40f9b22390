"""What holds for the package as a whole."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gedanken
from gedanken import Cost, Initializer, Layer, Metric, Network, Optimizer, Schedule
from tests.cases import PUBLIC

ROOT = Path(__file__).parents[1]
SOURCES = sorted(Path(gedanken.__file__).parent.rglob("*.py"))
FORMULAS = {
    name: kind
    for name, kind in PUBLIC.items()
    if issubclass(kind, (Layer, Cost, Optimizer)) and not inspect.isabstract(kind)
}


def python(code: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_type_checkers_are_told_the_public_names() -> None:
    tree = ast.parse(Path(gedanken.__file__).with_suffix(".pyi").read_text())
    imported = {
        alias.name: node.module for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    homes = {name: f"gedanken.{module}" for name, module in gedanken._MODULES.items()}
    assert imported == homes
    (told,) = [node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)]
    assert sorted(ast.literal_eval(told)) == gedanken.__all__


def test_an_unknown_name_is_no_part_of_the_package() -> None:
    with pytest.raises(AttributeError, match="module 'gedanken' has no attribute 'Netwrok'"):
        gedanken.Netwrok  # noqa: B018
    assert set(gedanken.__all__) <= set(dir(gedanken))


def test_worker_processes_import_only_what_prepares_data() -> None:
    loaded = python("import sys, gedanken.data.batches; print(*sys.modules)").split()
    parts = {name.split(".")[1] for name in loaded if name.startswith("gedanken.")}
    assert not parts & {"engine", "layers", "network", "training", "io", "parallel"}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_say_what_they_are(name: str) -> None:
    text = inspect.getdoc(PUBLIC[name]) or ""
    assert text.split("\n")[0].rstrip("`").endswith((".", "?")), text


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_name_their_source_and_shapes(name: str) -> None:
    text = inspect.getdoc(FORMULAS[name]) or ""
    assert "\nSource:\n" in text
    assert "\nShapes:\n" in text or issubclass(FORMULAS[name], Optimizer)


@pytest.mark.parametrize("name", [n for n in FORMULAS if inspect.signature(FORMULAS[n]).parameters])
def test_arguments_are_explained(name: str) -> None:
    text = (inspect.getdoc(FORMULAS[name]) or "").partition("Args:")[2]
    for argument in inspect.signature(FORMULAS[name]).parameters:
        assert argument in text


@pytest.mark.parametrize("call", [n for n in vars(Network) if not n.startswith("_")])
def test_every_call_of_a_network_is_explained(call: str) -> None:
    assert inspect.getdoc(getattr(Network, call))


def test_importing_brings_no_optional_package() -> None:
    heavy = {"numba", "llvmlite", "cupy", "cloudpickle", "matplotlib", "PIL", "pooch", "urllib3", "IPython"}
    heavy |= {"autograd", "scipy", "torch", "mpi4py", "ray"}
    code = "import sys, gedanken.datasets; from gedanken import *; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in python(code).split()}
    assert not heavy & loaded


def test_without_a_compiler_everything_still_trains() -> None:
    code = """
import sys
sys.modules["llvmlite"] = None
from gedanken import *
net = Network().input((2,)).add(FullyConnectedLayer(2)).add(SoftMax()).regression()
print(len(net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1], progress=False).epochs))
"""
    assert python(code) == "1\n"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_files_and_functions_stay_short(path: Path) -> None:
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        body = function.body[1:] if ast.get_docstring(function) else function.body
        lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]
        assert lines <= 40, f"{function.name} has {lines} lines"
    assert len(path.read_text().splitlines()) <= 400


def test_workers_import_no_part_of_numpy_in_the_middle_of_their_work() -> None:
    # NumPy imports these when they are first named: a fork of another thread in the middle of that waits for ever.
    late = re.compile(r"\bnp\.(ma|linalg|fft|polynomial|testing|rec|char|strings|ctypeslib)\b")
    sources = [path for path in SOURCES if path.parent.name in ("data", "workers", "gedanken")]
    assert [path.name for path in sources if late.search(path.read_text())] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_optional_packages_are_imported_in_one_file_each(path: Path) -> None:
    homes = {
        "cloudpickle": "pickling.py",
        "cupy": "cuda.py",
        "matplotlib": "drawing.py",
        "pooch": "fetch.py",
        "PIL": "decoding.py",
        "mpi4py": "mpi.py",
        "ray": "ray_launcher.py",
        "urllib3": "downloads.py",
    }
    text = path.read_text()
    for package, home in homes.items():
        used = f'import_module("{package}' in text or f"import {package}" in text or f"from {package} import" in text
        assert not used or path.name == home


@pytest.mark.parametrize("base", [Layer, Cost, Optimizer, Schedule, Metric, Initializer])
def test_every_kind_of_part_is_public(base: type) -> None:
    folder = base.__module__.removesuffix(".base")
    internal = {"SoftMaxCrossEntropy", "SigmoidBinaryCrossEntropy"}  # what the plan makes of CrossEntropy
    kinds = {
        name for name, kind in vars(sys.modules[folder]).items() if isinstance(kind, type) and issubclass(kind, base)
    }
    assert {name for name in kinds - internal if not name.startswith("_")} <= set(gedanken.__all__)


def test_the_oldest_versions_that_are_tried_are_those_that_are_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = project["optional-dependencies"]
    needs = [
        *project["dependencies"],
        *groups["plot"],
        *groups["data"],
        *groups["images"],
        *groups["http"],
        *groups["autograd"],
    ]
    needs += [need for need in groups["dev"] if need.startswith("cloudpickle")]
    tried = re.findall(r"^(\S+)==(\S+)$", (ROOT / "tests/oldest.txt").read_text(), re.MULTILINE)
    assert sorted(f"{name}>={version}" for name, version in tried) == sorted(needs)


@pytest.mark.parametrize(("theirs", "ours"), [("Dense", "FullyConnectedLayer"), ("Conv2d", "ConvolutionLayer")])
def test_names_of_other_libraries_are_told_ours(theirs: str, ours: str) -> None:
    with pytest.raises(AttributeError, match=f"has no attribute '{theirs}'; here it is {ours}"):
        getattr(gedanken, theirs)
    assert not hasattr(gedanken, "Nothing")
