"""The glossary is in order and explains every word once."""

import re
from pathlib import Path

GLOSSARY = (Path(__file__).parents[2] / "docs/glossary.md").read_text()


def test_words_are_in_order_and_stand_there_once() -> None:
    tables = [re.findall(r"^\| ([^|-][^|]*) \|", part, re.MULTILINE)[1:] for part in GLOSSARY.split("\n## ")[1:]]
    assert len(tables) == 2
    for words in tables:
        assert words == sorted(set(words), key=lambda word: word.replace("-", " ")) and len(words) > 20
