"""The page for those who come from Keras or PyTorch, and the errors that name what ours is called, agree."""

import re
from pathlib import Path

import pytest

import gedanken
import gedanken.datasets
from gedanken import foreign
from gedanken.costs import COSTS

PAGE = (Path(__file__).parents[2] / "docs/coming-from.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
NAMES = [row for row in ROWS if len(row) == 3 and row[0] != "Keras"]
ARGUMENTS = {row[0].strip("`"): row[1] for row in ROWS if len(row) == 2 and row[0] not in ("there", "---")}
OURS = {*gedanken.__all__, *gedanken.datasets.__all__, *COSTS}


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


@pytest.mark.parametrize("row", NAMES, ids=lambda row: row[2])
def test_an_error_would_say_the_same(row: list[str]) -> None:
    for name in words(row[0]) + words(row[1]):
        if ours := foreign.NAMES.get(plain(name)):
            assert ours in words(row[2]), name


@pytest.mark.parametrize(("name", "ours"), foreign.NAMES.items())
def test_every_name_that_an_error_knows_stands_there(name: str, ours: str) -> None:
    known = {plain(there): words(row[2]) for row in NAMES for there in words(row[0]) + words(row[1])}
    if name != plain(ours) and name not in ("fullyconnected",):  # a part of ours
        assert ours in known[name]


def test_every_argument_that_an_error_knows_stands_there() -> None:
    assert set(ARGUMENTS) == {*foreign.ARGUMENTS, *foreign.ELSEWHERE}
    for name, said in foreign.ARGUMENTS.items():
        for text in said:
            assert text in ARGUMENTS[name].replace("`", ""), name
    for name, text in foreign.ELSEWHERE.items():
        assert ARGUMENTS[name] == text
