"""The page for those who come from Keras or PyTorch, and the errors that name what ours is called, agree."""

import re
from pathlib import Path

import pytest

import gedanken
import gedanken.datasets
from gedanken import elsewhere, foreign
from gedanken.costs import COSTS
from gedanken.keywords import KeywordsChecked, accepted_keywords, check_keywords

PAGE = (Path(__file__).parents[2] / "docs/coming-from.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
NAMES = [row for row in ROWS if len(row) == 3 and row[0] != "Keras"]
ARGUMENTS: dict[str, str] = {}  # one of both tables may have a name, or each of them
for row in ROWS:
    if len(row) == 2 and row[0] not in ("there", "---"):
        name = row[0].strip("`")
        ARGUMENTS[name] = f"{ARGUMENTS.get(name, '')} {row[1]}".strip()
OURS = {*gedanken.__all__, *gedanken.datasets.__all__, *COSTS}
CODE = ("Model", "bidirectional=True", "data", "forward", "model", "x + f", ", a:b, c:d]")  # stands for no name
NO_ARGUMENT = ("by_name", "inputs", "outputs", "strict")  # of what is no class or function here


def words(cell: str) -> list[str]:
    """Return the names in a cell, without their module and arguments."""
    return [re.sub(r"\(.*", "", name).rpartition(".")[2] for name in re.findall(r"`([^`]+)`", cell)]


def plain(name: str) -> str:
    return name.lower().replace("_", "")


def test_there_are_forty_names_and_more() -> None:
    assert len({name for row in NAMES for name in words(row[0]) + words(row[1])}) > 100
    assert len(NAMES) >= 40


@pytest.mark.parametrize("row", NAMES, ids=lambda row: row[2])
def test_what_stands_in_the_last_column_exists(row: list[str]) -> None:
    for name in re.findall(r"`([^`]+)`", row[2]):
        owner, _, call = name.partition("(")[0].rpartition(".")
        if name.endswith("=") or name.startswith("(") or name == "gedanken.datasets":
            continue
        assert hasattr(gedanken.Network, call) if owner == "Network" or call == "regression" else call in OURS, name


def promised() -> dict[str, list[str]]:
    """Return what the page says of each name that other libraries have; the last columns of its rows."""
    said: dict[str, list[str]] = {}
    for row in NAMES:
        for name in words(row[0]) + words(row[1]):
            said.setdefault(name.removesuffix(" = False"), []).append(row[2])
    return said


@pytest.mark.parametrize(("name", "said"), promised().items())
def test_an_error_says_what_the_page_promises(name: str, said: list[str]) -> None:
    if name in CODE or hasattr(gedanken.Network, name):
        return
    hint = foreign.hint_of(name, OURS).removeprefix("; here it is ")
    assert hint, f"nothing is said of {name}"
    ours = {plain(word) for cell in said for word in words(cell)}
    assert plain(hint) in ours or any(hint in cell.replace("`", "") for cell in said), hint


@pytest.mark.parametrize("row", NAMES, ids=lambda row: row[2])
def test_an_error_knows_the_arguments_of_names_there(row: list[str]) -> None:
    ours = getattr(gedanken, (words(row[2]) or [""])[0], None)
    takes = accepted_keywords(ours.__init__ if ours else gedanken.Network.regression) or ()
    for name in re.findall(r"(\w+)=", " ".join(re.findall(r"`([^`]+)`", row[0] + row[1]))):
        if name not in (*takes, *NO_ARGUMENT):
            assert name in {**foreign.ARGUMENTS, **elsewhere.ELSEWHERE}
            with pytest.raises(gedanken.ArgumentError, match=f"{name}'; (?!did you mean|it takes)"):
                check_keywords(row[2], [name], takes)


def test_a_network_says_what_its_calls_are_called() -> None:
    for name, said in elsewhere.CALLS.items():
        assert not hasattr(gedanken.Network(), name) or said.startswith("Network."), name
    with pytest.raises(AttributeError, match=r"'Network' object has no attribute 'compile'; here it is Network.regr"):
        gedanken.Network().compile  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no attribute 'nonsense'$"):
        gedanken.Network().nonsense  # noqa: B018


@pytest.mark.parametrize(("name", "ours"), (foreign.NAMES | foreign.METRICS).items())
def test_every_name_that_an_error_knows_stands_there(name: str, ours: str) -> None:
    known: dict[str, list[str]] = {}
    for there, cells in promised().items():
        known.setdefault(plain(there), []).extend(plain(word) for cell in cells for word in words(cell))
    if name != plain(ours) and name not in ("fullyconnected",):  # a part of ours
        assert plain(ours) in known[name]


def test_every_argument_that_an_error_knows_stands_there() -> None:
    assert set(ARGUMENTS) == {*foreign.ARGUMENTS, *elsewhere.ELSEWHERE}
    for name, said in foreign.ARGUMENTS.items():
        for text in said:
            assert text in ARGUMENTS[name].replace("`", ""), name
    for name, text in elsewhere.ELSEWHERE.items():
        assert text in ARGUMENTS[name]


def callables() -> dict[str, tuple[str, ...]]:
    """Return the arguments of each public class and of each method of Network that has some."""
    classes = [getattr(gedanken, name) for name in gedanken.__all__]
    found = {
        one.__name__: one.__init__ for one in classes if isinstance(one, type) and issubclass(one, KeywordsChecked)
    }
    for owner in (gedanken.Network, gedanken.ArrayGenerator, gedanken.IterableGenerator):
        found |= {name: getattr(owner, name) for name in dir(owner) if name == "__init__" or name[0] != "_"}
    return {name: accepted_keywords(one) or () for name, one in found.items() if callable(one)}


@pytest.mark.parametrize("name", sorted({*foreign.ARGUMENTS, *elsewhere.ELSEWHERE}))
def test_an_argument_is_called_what_the_called_function_has(name: str) -> None:
    named = 0
    for owner, takes in callables().items():
        if name not in takes:
            hint = foreign.argument_hint(name, takes)
            assert "did you mean" not in hint, f"{owner} has no {name}, and that is no misspelling"
            ours = foreign.arguments_in(hint.removeprefix("here it is ")) if hint.startswith("here") else []
            assert {*ours} <= {*takes}, f"{owner} takes {takes}"
            named += bool(ours)
    assert named or name in elsewhere.ELSEWHERE, "no call here has what this is said to be"
