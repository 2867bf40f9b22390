"""Words or characters as whole numbers, and back."""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from gedanken.checks import extent, one_of, refuse_masked, require, short, truth, whole
from gedanken.errors import DataError
from gedanken.sequences import Sequences, as_padded
from gedanken.types import Array

PADDING: Final = 0  # the number behind the end of a text
UNKNOWN: Final = 1  # the number of every token that the vocabulary does not have
FIRST: Final = 2  # the number of its first token
UNSEEN: Final = "\ufffd"  # what a text shows in the place of an unknown one
JOINERS: Final = "\u200c\u200d"  # stand within words of some scripts, and are no letters


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """The words, or characters, that a network knows, each with a number of its own.

    Number 0 is padding, as of `Embedding(..., mask=0)`, and 1 every token that is not among them; the first has 2. So
    an `Embedding` for it has n_tokens = len(vocabulary). Texts are brought to the Unicode form NFC first.

    A word is letters and digits in a row, also with an apostrophe between them; every other character that is no blank
    is a token by itself. At the level of characters a blank is one, too.

    Args:
        tokens: different words, or single characters, in the order of their numbers.
        level: "word" or "character".
        lower: whether capital letters are made small ones.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> vocabulary = Vocabulary.of(["The cat sat.", "A cat!"], lower=True)
        >>> vocabulary.tokens
        ('cat', '!', '.', 'a', 'sat', 'the')
        >>> vocabulary.encode(["the cat", "dog"])
        Sequences of shape (2, 2) and lengths 1 to 2
        >>> vocabulary.encode("The dog sat.").tolist()
        [7, 1, 6, 4]
        >>> vocabulary.decode([7, 2, 0, 0])
        'the cat'

    Source:
        none, bookkeeping; the form NFC is that of Unicode Standard Annex 15.
    """

    tokens: tuple[str, ...]
    level: Literal["word", "character"] = "word"
    lower: bool = False
    _numbers: dict[str, int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        one_of("Vocabulary level", self.level, ("word", "character"))
        object.__setattr__(self, "lower", truth("Vocabulary lower", self.lower))
        listed = isinstance(self.tokens, (list, tuple)) and all(isinstance(token, str) for token in self.tokens)
        require(listed, "Vocabulary tokens", "be a list of texts", self.tokens)
        object.__setattr__(self, "tokens", tuple(map(str, self.tokens)))
        numbers = {token: number for number, token in enumerate(self.tokens, FIRST)}
        require(len(numbers) == len(self.tokens) > 0, "Vocabulary tokens", "be different, at least one", self.tokens)
        extent("Vocabulary size", len(self))
        for token in self.tokens:
            rule = f"be single {self.level}s as `encode` makes them of texts"
            require(self._split(token) == [token], "Vocabulary tokens", rule, token)
        object.__setattr__(self, "_numbers", numbers)

    @classmethod
    def of(
        cls,
        texts: Iterable[str],
        *,
        level: Literal["word", "character"] = "word",
        lower: bool = False,
        most: int | None = None,
        least_count: int = 1,
    ) -> "Vocabulary":
        """Return the vocabulary of some texts, the most frequent token first, of equal ones the first in code order.

        It depends on how often each token is there, and not on the order of the texts. Make it of the texts that are
        trained on alone.

        Args:
            texts: the texts.
            level, lower: as of the class.
            most: largest `len` of it, at least 3, the numbers of padding and the unknown counted; None is any.
            least_count: how often a token has to be there, at least 1.

        Raises:
            ArgumentError: an argument breaks its rule.
            DataError: no token is there so often.
        """
        empty = cls(("a",), level, lower)
        kept = None if most is None else whole("most", most, FIRST + 1) - FIRST
        least = whole("least_count", least_count)
        counts = Counter[str]()
        for text in _checked_texts(texts):
            counts.update(empty._split(text))
        tokens = [token for token, count in counts.items() if count >= least]
        if not tokens:
            raise DataError(f"texts must hold a {level} at least {least} times, got none so often")
        tokens.sort(key=lambda token: (-counts[token], token))
        return cls(tuple(tokens[:kept]), level, lower)

    def __len__(self) -> int:
        """Return how many numbers there are, with those of padding and the unknown."""
        return FIRST + len(self.tokens)

    def __repr__(self) -> str:
        return f"Vocabulary of {len(self):,} numbers for {self.level}s"

    def encode(self, texts: str | Iterable[str], length: int | None = None, *, keep: str = "first") -> Any:
        """Return the numbers of texts: Sequences (N, T) of several, an array of one.

        Args:
            texts: one text, or several.
            length: T, how many numbers each text gets; None is as many as the longest of them has.
            keep: which tokens of a text that has more are kept, the "first" or the "last".

        Shapes:
            result: (N, T) with the length of each; (T,) of one text, with 0 behind its end.

        Raises:
            ArgumentError: an argument breaks its rule.
            DataError: a text has no token; the message names it.
        """
        places = None if length is None else extent("length", length)
        one_of("keep", keep, ("first", "last"))
        several = [texts] if isinstance(texts, str) else _checked_texts(texts)
        rows = [self._row(text, place, places, keep) for place, text in enumerate(several)]
        if isinstance(texts, str):
            return Sequences.of(rows, places).values[0]
        return Sequences.of(rows, places)

    def decode(self, numbers: Any) -> Any:
        """Return the text that numbers stand for, or a list of texts; words with a blank between them.

        Padding is left out, and what is unknown is the character U+FFFD.

        Args:
            numbers: (T,) of one text; of several (N, T), Sequences, or a list of lists.

        Raises:
            DataError: they are no whole numbers of this vocabulary.
        """
        rows = as_padded(numbers)
        listed = isinstance(rows, (list, tuple)) and any(isinstance(row, (list, tuple, np.ndarray)) for row in rows)
        several = listed or getattr(rows, "ndim", 1) == 2
        return [self._text(row) for row in rows] if several else self._text(rows)

    # ------------------------------------------------------------------ inside

    def _split(self, text: str) -> list[str]:
        text = unicodedata.normalize("NFC", text)
        if self.lower:
            text = unicodedata.normalize("NFC", text.lower())
        return list(text) if self.level == "character" else _words(text.isascii()).findall(text)

    def _row(self, text: str, place: int, length: int | None, keep: str) -> Array:
        tokens = self._split(text)
        if not tokens:
            raise DataError(f"a text must have at least one {self.level}, got {short(text)} in place {place}")
        if length is not None:
            tokens = tokens[:length] if keep == "first" else tokens[-length:]
        return np.array([self._numbers.get(token, UNKNOWN) for token in tokens], np.int64)

    def _text(self, row: Any) -> str:
        refuse_masked("numbers", row)
        try:
            array = np.asarray(row)
        except ValueError as error:
            raise DataError(f"numbers must be whole numbers (T,) or (N, T): {error}") from None
        if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
            raise DataError(f"numbers must be whole numbers (T,) or (N, T), got shape {array.shape} of {array.dtype}")
        if array.size and not 0 <= array.min() <= array.max() < len(self):
            wrong = array[(array < 0) | (array >= len(self))][0]
            raise DataError(f"numbers must be from 0 to {len(self) - 1} for {self}, got {wrong}")
        shown = ("", UNSEEN, *self.tokens)
        found = [shown[number] for number in array.tolist() if number != PADDING]
        return (" " if self.level == "word" else "").join(found)


def _checked_texts(texts: Any) -> Sequence[str]:
    listed = isinstance(texts, Iterable) and not isinstance(texts, (str, bytes))
    require(listed, "texts", "be a list of texts", texts)
    found = list(texts)
    for place, text in enumerate(found):
        require(isinstance(text, str), f"texts[{place}]", "be a text", text)
    require(len(found) > 0, "texts", "be at least one", found)
    return found


@functools.cache
def _words(ascii_only: bool) -> re.Pattern[str]:
    """Return what finds words and signs. Accents and vowel signs belong to the letter before them."""
    word = r"\w+"
    if not ascii_only:
        found = (chr(code) for code in (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)))
        marks = JOINERS + "".join(one for one in found if unicodedata.category(one)[0] == "M")
        word = rf"\w+(?:[{marks}]+\w*)*"
    return re.compile(rf"{word}(?:['\u2019]{word})*|\S")
