"""Texts of classes, read from files."""

import re
from pathlib import Path

import pytest

from gedanken import ArgumentError, DatasetError
from gedanken.datasets import load_texts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files and a folder that are classes, and litter."""
    base = tmp_path / "texts"
    (base / "odes" / "deeper").mkdir(parents=True)
    contents = {
        "jokes": "One.\n%\n\n  Two,\r\nand 50 % more.\n%\n%\n",
        "art.txt": "\ufeffAlone\n%%\nstill the same",
        "jokes.dat": "\x00\x01",
        ".hidden": "no",
        "odes/b.txt": "Second",
        "odes/a": "First\n%\nThird",
        "odes/notes.md": "no",
    }
    for name, content in contents.items():
        (base / name).write_bytes(content.encode())
    return base


def test_files_and_folders_are_classes(folder: Path) -> None:
    read = load_texts(folder)
    assert read.classes == ("art", "jokes", "odes")
    assert read.texts == ("Alone\n%%\nstill the same", "One.", "Two,\nand 50 % more.", "First", "Third", "Second")
    assert read.labels.argmax(axis=1).tolist() == [0, 1, 1, 2, 2, 2]
    assert read.labels.sum() == 6
    assert [file.name for file in read.files] == ["art.txt", "jokes", "jokes", "a", "a", "b.txt"]
    assert load_texts(str(folder), separator="%%").texts[:2] == ("Alone", "still the same")
    assert len(load_texts(folder, separator=None).texts) == 4
    assert load_texts(folder, suffixes=[".txt"]).classes == ("art", "odes")


def test_a_split_of_every_class(folder: Path) -> None:
    read = load_texts(folder)
    train_texts, train_labels, test_texts, test_labels = read.split(test=0.5, seed=1)
    assert sorted(train_texts + test_texts) == sorted(read.texts)
    assert (len(train_texts), len(test_texts)) == (len(train_labels), len(test_labels))
    assert "Alone\n%%\nstill the same" in train_texts
    for text, row in zip(test_texts, test_labels, strict=True):
        assert (row == read.labels[read.texts.index(text)]).all()


def test_other_encodings(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("grün".encode("latin-1"))
    assert load_texts(tmp_path, encoding="latin-1").texts == ("grün",)
    with pytest.raises(
        DatasetError, match=rf"{re.escape(str(tmp_path / 'a'))} must be a text in utf-8, got other bytes"
    ):
        load_texts(tmp_path)


def test_what_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"folder must be a readable folder, got .*missing"):
        load_texts(tmp_path / "missing")
    (tmp_path / "none").mkdir()
    with pytest.raises(DatasetError, match=r"folder must hold a file of texts.*none"):
        load_texts(tmp_path / "none")
    (folder / "blank").write_text(" \n%\n")
    with pytest.raises(DatasetError, match=r"blank must hold a text"):
        load_texts(folder)
    (folder / "blank").unlink()
    (folder / "lost").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"lost cannot be read: No such file"):
        load_texts(folder)
    for mistake in (
        {"encoding": "utf-9"},
        {"encoding": "hex"},
        {"separator": 3},
        {"separator": ""},
        {"separator": "%\n"},
        {"suffixes": ".txt"},
    ):
        with pytest.raises(ArgumentError, match=f"{next(iter(mistake))} must be"):
            load_texts(folder, **mistake)
