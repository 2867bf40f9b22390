"""The API reference builds without a warning, and tells all that is public."""

import html
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gedanken
import gedanken.datasets
import gedanken.metrics
import gedanken.networks

ROOT = Path(__file__).parents[2]
PAGES = {page.__name__: page for page in (gedanken, gedanken.metrics, gedanken.networks, gedanken.datasets)}
NAMES = [(page, name) for page, module in PAGES.items() for name in module.__all__]
SECTIONS = ("Args", "Shapes", "Raises", "Returns", "Source", "Example", "Attributes")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Build the reference and return the text of its pages by the name of their module."""
    folder = tmp_path_factory.mktemp("api")
    command = [sys.executable, "-W", "error", ROOT / "docs/reference/build.py", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return {name: (folder / f"{name.replace('.', '/')}.html").read_text() for name in PAGES}


@pytest.mark.parametrize(("page", "name"), NAMES, ids=lambda text: text)
def test_every_public_name_stands_there_with_its_arguments(pages: dict[str, str], page: str, name: str) -> None:
    thing = getattr(PAGES[page], name)
    assert f'<section id="{name}">' in pages[page]
    if inspect.isclass(thing) and inspect.isfunction(thing.__init__) and inspect.signature(thing).parameters:
        assert f'id="{name}.__init__"' in pages[page]
    if inspect.isclass(thing) and thing.__module__.startswith("gedanken"):
        ours = {name for base in thing.__mro__ if base.__module__.startswith("gedanken") for name in vars(base)}
        for member in ours:
            if not member.startswith("_"):
                assert f'id="{name}.{member}"' in pages[page]


@pytest.mark.parametrize("page", PAGES)
def test_every_section_of_a_docstring_is_one_of_the_page(pages: dict[str, str], page: str) -> None:
    docstrings = re.findall(r'<div class="docstring">(.*?)</div>', pages[page], re.DOTALL)
    assert any('<h6 id="arguments">' in text for text in docstrings)
    for text in docstrings:
        prose = html.unescape(re.sub(r"<h6.*?</h6>|<pre>.*?</pre>", "", text, flags=re.DOTALL))
        assert not re.search(rf">\s*({'|'.join(SECTIONS)}):\s", prose), prose
        assert "<em>" not in text, prose  # a product taken for emphasis


def test_the_first_page_begins_with_a_way_to_every_name(pages: dict[str, str]) -> None:
    (top,) = re.findall(r'<section class="module-info">(.*?)</section>', pages["gedanken"], re.DOTALL)
    assert set(re.findall(r'href="#(\w+)"', top)) >= set(gedanken.__all__)
