"""The examples in README, docs and docstrings do what they say."""

import doctest
import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gedanken
import gedanken.datasets
from gedanken import Network
from tests.cases import PUBLIC

ROOT = Path(__file__).parents[2]
README, DOCS = ROOT / "README.md", sorted((ROOT / "docs").glob("*.md"))
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
TEXTS = [*ROOT.glob("*.md"), *DOCS, *ROOT.glob("examples/*.md")]


@pytest.fixture
def checked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each first training be checked before it begins, and nothing be found that is worse than a note.

    Of networks that were trained on twenty pictures much can be found, and rightly so.
    """
    fit = Network.fit

    def checked(net: Network, data: Any, labels: Any = None, weights: Any = None, **given: Any) -> Any:
        taken = {name: given[name] for name in ("validation_set", "mini_batch_size") if name in given}
        assert net.epoch or (found := net.check(data, labels, weights, **taken)).ok, found
        return fit(net, data, labels, weights, **given)

    monkeypatch.setattr(Network, "fit", checked)


def examples(page: Path) -> str:
    """Return all Python of a page, as one script."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))


def run(page: Path, text: str = "") -> None:
    exec(compile(text or examples(page), str(page), "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("page", [page for page in [*DOCS, CONTRIBUTING] if examples(page)], ids=lambda page: page.name)
@pytest.mark.usefixtures("checked_first")
def test_examples_run_as_they_stand(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(page)


def test_quoted_source_is_the_source() -> None:
    quotes = re.findall(r"^```py\n# (\S+\.py)\n(.*?)^```", CONTRIBUTING.read_text(), re.MULTILINE | re.DOTALL)
    assert len(quotes) == 5
    for name, text in quotes:
        assert text in (ROOT / "src/gedanken" / name).read_text(), text


@pytest.mark.usefixtures("checked_first")
def test_the_diarys_script_prints_its_evaluation_and_saves_a_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gedanken.datasets, "load_conv", lambda: gedanken.datasets.load_drawn_digits(30, 10))
    text = examples(README)
    assert text.count("epochs=12") == 1
    run(README, text.replace("epochs=12", "epochs=3"))  # which show what twelve do
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"evaluation of 10 samples: cost [\d.]+  accuracy [\d.]+", last)
    assert len(list(tmp_path.glob("runs/*/plot.png"))) == 1


DOCSTRINGS = "network networks data.generator data.workers.items data.sources data.vocabulary data.windows"


@pytest.mark.parametrize("name", DOCSTRINGS.split())
def test_docstring_examples(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"gedanken.{name}"), extraglobs={**PUBLIC, "np": np})
    assert tried
    assert not failed


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text()
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, anchor
    for name in re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", text):
        assert any((folder / name).exists() for folder in (ROOT, ROOT / "src/gedanken")), name
