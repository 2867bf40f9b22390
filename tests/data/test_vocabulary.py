"""Words and characters as numbers: what a vocabulary makes of texts, and that a network keeps it."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    ArgumentError,
    Branches,
    Checkpoint,
    CheckpointError,
    DataError,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    Network,
    SoftMax,
    Vocabulary,
)
from tests.hostile import sealed

TEXTS = ["The cat sat on the mat.", "A dog; the cat?"]


def net_for(vocabulary: Vocabulary, places: int = 4) -> Network:
    net = Network().input((places,)).add(Embedding(len(vocabulary), 3))
    return net.add(Flatten()).add(FullyConnectedLayer(2)).add(SoftMax())


def test_the_most_frequent_have_the_lowest_numbers() -> None:
    found = Vocabulary.of(TEXTS, lower=True)
    assert found.tokens == ("the", "cat", ".", ";", "?", "a", "dog", "mat", "on", "sat")
    assert Vocabulary.of(reversed(TEXTS), lower=True) == found
    assert hash(found) == hash(Vocabulary.of(iter(TEXTS), lower=True))
    assert Vocabulary.of(TEXTS).tokens[:3] == ("cat", "the", ".")
    assert len(Vocabulary.of(TEXTS, lower=True, most=4)) == 4
    assert Vocabulary.of(TEXTS, lower=True, least_count=2).tokens == ("the", "cat")
    assert repr(found) == "Vocabulary of 12 numbers for words"


def test_texts_become_sequences_and_texts_again() -> None:
    vocabulary = Vocabulary.of(TEXTS, lower=True, most=4)
    found = vocabulary.encode(["the cat", "cat", "A Cat the the"], length=3)
    assert found.values.tolist() == [[2, 3, 0], [3, 0, 0], [1, 3, 2]]
    assert found.lengths.tolist() == [2, 1, 3]
    assert vocabulary.encode(["a cat the the"], length=3, keep="last").values.tolist() == [[3, 2, 2]]
    assert vocabulary.encode(["the cat", "cat"]).shape == (2, 2)
    assert vocabulary.encode("the cat").tolist() == [2, 3]
    assert vocabulary.encode("cat", 3).tolist() == [3, 0, 0]
    assert vocabulary.decode(found) == ["the cat", "cat", "\ufffd cat the"]
    assert vocabulary.decode(found.values) == vocabulary.decode(found.values.tolist()) == vocabulary.decode(found)
    assert vocabulary.decode(np.uint8([2, 0])) == vocabulary.decode([2]) == "the"
    assert vocabulary.decode([]) == ""


def test_characters_keep_the_text() -> None:
    text = "naïve\n 東京\U0001f600"
    vocabulary = Vocabulary.of([text], level="character")
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert len(vocabulary) == 2 + len(set(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't stop, l\u2019été", ["don't", "stop", ",", "l\u2019été"]),
        ("e\u0301te\u0301", ["été"]),  # composed
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowel signs are no letters of their own
        ("\u0645\u06cc\u200c\u062e\u0648", ["\u0645\u06cc\u200c\u062e\u0648"]),  # a joiner within a word
        ("a_b 3.14 x२", ["a_b", "3", ".", "14", "x२"]),
        ("\ud800 ok", ["\ud800", "ok"]),
        ("'tis 'so'", ["'", "tis", "'", "so", "'"]),
    ],
)
def test_words_of_many_scripts(text: str, words: list[str]) -> None:
    vocabulary = Vocabulary(tuple(dict.fromkeys(words)))
    assert vocabulary.decode(vocabulary.encode(text)).split(" ") == words


MISTAKES: dict[str, tuple[Any, type[Exception], str]] = {
    "one text": (lambda v: Vocabulary.of("a text"), ArgumentError, "texts must be a list of texts, got 'a text'"),
    "no texts": (lambda v: Vocabulary.of([]), ArgumentError, "texts must be at least one"),
    "no text": (lambda v: v.encode(["cat", 3]), ArgumentError, r"texts\[1\] must be a text, got 3"),
    "rare": (lambda v: Vocabulary.of(["a b"], least_count=2), DataError, "word at least 2 times"),
    "most": (lambda v: Vocabulary.of(TEXTS, most=2), ArgumentError, "most must be a whole number of at least 3"),
    "level": (lambda v: Vocabulary.of(TEXTS, level="char"), ArgumentError, "level must be one of character, word"),
    "twice": (lambda v: Vocabulary(("a", "a")), ArgumentError, "tokens must be different"),
    "two words": (lambda v: Vocabulary(("a b",)), ArgumentError, "single words .* got 'a b'"),
    "capital": (lambda v: Vocabulary(("A",), lower=True), ArgumentError, "got 'A'"),
    "two letters": (lambda v: Vocabulary(("ab",), "character"), ArgumentError, "single characters"),
    "empty text": (lambda v: v.encode(["cat", " \n"]), DataError, "at least one word, got .* in place 1"),
    "length": (lambda v: v.encode(["cat"], 0), ArgumentError, "length must be"),
    "keep": (lambda v: v.encode(["cat"], 1, keep="middle"), ArgumentError, "keep must be one of first, last"),
    "beyond": (lambda v: v.decode([2, 12]), DataError, "from 0 to 11 .* got 12"),
    "below": (lambda v: v.decode([[2], [-1]]), DataError, "got -1"),
    "fractions": (lambda v: v.decode([2.0]), DataError, "whole numbers"),
    "three axes": (lambda v: v.decode([[[2]]]), DataError, "whole numbers"),
    "ragged": (lambda v: v.decode([[[2], [2, 3]]]), DataError, "whole numbers"),
    "none": (lambda v: setattr(net_for(v), "vocabulary", ["a"]), ArgumentError, "be a Vocabulary or None"),
}


@pytest.mark.parametrize(("call", "kind", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(call: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call(Vocabulary.of(TEXTS, lower=True))


# With a network


def test_a_loaded_network_encodes_again(tmp_path: Path) -> None:
    vocabulary = Vocabulary.of([*TEXTS, "naïve \ud800 東京"], lower=True)
    net = net_for(vocabulary).regression()
    net.save(tmp_path / "without")
    assert Network.load(tmp_path / "without").vocabulary is None
    net.vocabulary = vocabulary
    run = tmp_path / "run"
    words = net.vocabulary.encode(["a naïve cat", "dog"], length=4)
    net.fit(words.padded(), [0, 1], callbacks=[Checkpoint()], folder=run, progress=False)
    net.save(tmp_path / "net", optimizer=True)
    for again in (Network.load(tmp_path / "net"), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert again.vocabulary == vocabulary
        assert again.vocabulary.encode("a naïve cat").tolist() == vocabulary.encode("a naïve cat").tolist()
        assert (again.feedforward(words.padded()) == net.feedforward(words.padded())).all()
    assert {str(Network.load(file).vocabulary) for file in run.rglob("*.safetensors")} == {str(vocabulary)}
    net.fit(words.padded(), [0, 1], callbacks=[Checkpoint()], epochs=2, resume=run, progress=False)


def test_a_vocabulary_of_another_size_is_refused() -> None:
    vocabulary, other = Vocabulary.of(TEXTS), Vocabulary.of(["a b"])
    net = net_for(vocabulary)
    words = r"vocabulary must have 12 numbers, as Embedding\(n_tokens=12, .*\) has, got Vocabulary of 4 numbers"
    with pytest.raises(ArgumentError, match=words.replace("12", str(len(vocabulary)))):
        net.vocabulary = other
    assert net.vocabulary is None
    early = Network().input((4,))
    early.vocabulary = other
    early.add(Embedding(len(vocabulary), 3)).add(Flatten()).add(FullyConnectedLayer(2)).add(SoftMax())
    with pytest.raises(ArgumentError, match="vocabulary must have"):
        early.regression()
    with pytest.raises(ArgumentError, match=r"be None for a network whose first layer, FullyConn.* takes no tokens"):
        Network().input((4,)).add(FullyConnectedLayer(2)).vocabulary = vocabulary


def test_one_of_several_inputs_is_words(tmp_path: Path) -> None:
    vocabulary = Vocabulary.of(TEXTS)
    net = Network().input(text=(4,), table=(3,))
    net.add(Branches(text=[Embedding(len(vocabulary), 2), Flatten()], table=[])).add(FullyConnectedLayer(2))
    net.vocabulary = vocabulary
    net.regression(cost="mean_squared").save(tmp_path / "net")
    again = Network.load(tmp_path / "net")
    assert again.vocabulary == vocabulary
    data = {"text": again.vocabulary.encode(TEXTS, length=4).values, "table": np.ones((2, 3))}
    assert (again.feedforward(data) == net.feedforward(data)).all()
    with pytest.raises(ArgumentError, match="vocabulary must have"):
        net.vocabulary = Vocabulary.of(["a b"])


def test_another_first_layer_takes_the_vocabulary_away() -> None:
    vocabulary = Vocabulary.of(TEXTS)
    net = net_for(vocabulary).regression()
    net.vocabulary = vocabulary
    assert net.replace(slice(-2, None), FullyConnectedLayer(3), SoftMax()).vocabulary == vocabulary
    assert net.replace(0, Embedding(5, 3)).vocabulary is None


# Files of strangers

GOOD: dict[str, Any] = {"tokens": ["a", "b"], "level": "word", "lower": False}
DAMAGED = {
    "no JSON": b"\x80abc",
    "deep": b"[" * 100_000,
    "a list": b"[]",
    "a field more": json.dumps({**GOOD, "more": 1}).encode(),
    "a field less": b'{"tokens": ["a", "b"], "level": "word"}',
    "twice": b'{"tokens": ["a", "b"], "tokens": ["a", "b"], "level": "word", "lower": false}',
    "numbers": json.dumps({**GOOD, "tokens": [1, 2]}).encode(),
    "same": json.dumps({**GOOD, "tokens": ["a", "a"]}).encode(),
    "one text": json.dumps({**GOOD, "tokens": "ab"}).encode(),
    "level": json.dumps({**GOOD, "level": "line"}).encode(),
    "lower": json.dumps({**GOOD, "lower": 1}).encode(),
    "other size": json.dumps({**GOOD, "tokens": ["a", "b", "c"]}).encode(),
    "nothing": b"",
}


def with_vocabulary(tmp_path: Path, content: bytes, **entry: Any) -> Path:
    """Write a network's file with these bytes as its vocabulary, and a right checksum."""
    path = tmp_path / "net"
    net_for(Vocabulary(("a", "b"))).regression().save(path)
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    table = json.loads(whole[8 : 8 + size])
    metadata, data = table.pop("__metadata__"), whole[8 + size :]
    del metadata["checksum"]
    place = {"dtype": "U8", "shape": [len(content)], "data_offsets": [len(data), len(data) + len(content)]}
    path.write_bytes(sealed(metadata, {**table, "vocabulary": {**place, **entry}}, data + content))
    return path


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_vocabulary_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        Network.load(with_vocabulary(tmp_path, content))


def test_a_whole_vocabulary_of_a_stranger_is_read(tmp_path: Path) -> None:
    assert Network.load(with_vocabulary(tmp_path, json.dumps(GOOD).encode())).vocabulary == Vocabulary(("a", "b"))


def test_a_huge_vocabulary_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = Vocabulary(("a", "b"))
    net = net_for(vocabulary).regression()
    net.vocabulary = vocabulary
    net.save(tmp_path / "large")
    monkeypatch.setattr("gedanken.io.vocabulary.LARGEST", 20)
    with pytest.raises(CheckpointError, match="vocabulary must take at most 20 bytes"):
        Network.load(tmp_path / "large")
    with pytest.raises(ArgumentError, match="vocabulary must take at most 20 bytes"):
        net.save(tmp_path / "large")
