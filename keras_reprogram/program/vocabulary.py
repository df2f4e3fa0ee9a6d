"""Vocabulary: the tokens of texts, their numbers, and the texts of numbers."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np

from keras_reprogram.arguments import one_of, positive_integer

UNITS = ("words", "characters")
# Numbers of the end, which also fills what is left of a row, and of every unknown token.
END, UNKNOWN = 0, 1
_SPECIAL = 2
# Keras keeps a vocabulary as NumPy's strings, which lose it at their end.
_NUL = "\0"
_SPLITS = {"words": "whitespace", "characters": "character"}


@keras.saving.register_keras_serializable(package="keras_reprogram")
class Vocabulary:
    """Texts as rows of token numbers: Keras's `TextVectorization` for a list of tokens.

    Number 0 is the end of a text, 1 a token that is not in the list, 2 and more the tokens. Words
    are what white space of ASCII separates, characters are Unicode code points. An export holds
    `layer`, so that a server reads texts as Python does.

    Args:
        tokens: the known tokens, each once.
        length: tokens of a row: longer texts are cut, shorter ones end early.
        unit: what a token is, `"words"` or `"characters"`.
        lowercase: whether capital letters, those of ASCII, are made small first.

    Raises:
        ValueError: for tokens that are none of this unit, or occur twice.

    Example:
    ```python
    from keras_reprogram import Vocabulary

    words = Vocabulary.from_texts(["what is a fox", "who is that"], length=4)
    numbers = words.encode(["is that a"])
    assert numbers.shape == (1, 4) and words.decode(numbers) == ["is that a"]
    ```
    """

    def __init__(
        self,
        tokens: Sequence[str],
        length: int,
        *,
        unit: str = "words",
        lowercase: bool = False,
    ) -> None:
        self.unit = one_of("unit", unit, UNITS)
        self.lowercase = bool(lowercase)
        self.length = positive_integer("length", length)
        self.tokens = tuple(map(str, tokens))
        self._check_tokens()

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        length: int | None = None,
        *,
        unit: str = "words",
        lowercase: bool = False,
        minimum_count: int = 1,
    ) -> Vocabulary:
        """The tokens of training texts, the most frequent first.

        Args:
            texts: of the training part alone: others must not shape the vocabulary.
            length: tokens of a row; `None` for those of the longest of these texts.
            unit: see `Vocabulary`.
            lowercase: see `Vocabulary`.
            minimum_count: how often a token must occur in all texts; rarer ones stay unknown.

        Returns:
            A `Vocabulary`.

        Raises:
            ValueError: for texts that are empty, or if no token is frequent enough.
        """
        positive_integer("minimum_count", minimum_count)
        rows = [split_text(text, unit, lowercase) for text in _checked_texts(texts)]
        _check_not_empty(rows)
        counts = Counter(token for row in rows for token in row)
        # Equally frequent ones in the order of their code points, whatever the order of the texts.
        order = sorted(counts, key=lambda token: (-counts[token], token))
        tokens = [t for t in order if counts[t] >= minimum_count and _NUL not in t]
        if not tokens:
            raise ValueError(
                f"At least one of the {unit} must occur `minimum_count` times. Received: "
                f"minimum_count={minimum_count}, the most frequent occurs "
                f"{max(counts.values())} times. Pass a smaller number, or more texts."
            )
        longest = max(map(len, rows))
        return cls(tokens, length or longest, unit=unit, lowercase=lowercase)

    @property
    def size(self) -> int:
        """How many numbers there are: the tokens, the end, and the unknown one."""
        return len(self.tokens) + _SPECIAL

    @cached_property
    def layer(self) -> keras.layers.TextVectorization:
        """The layer that reads texts, `(n,)` strings -> `(n, length)` integers, unchecked."""
        return keras.layers.TextVectorization(
            standardize="lower" if self.lowercase else None,
            split=_SPLITS[self.unit],
            output_mode="int",
            output_sequence_length=self.length,
            vocabulary=list(self.tokens),
            name="vocabulary",
        )

    def encode(self, texts: Iterable[str]) -> np.ndarray:
        """Texts as token numbers; a warning says how much was cut or is unknown.

        Args:
            texts: `n` strings.

        Returns:
            int32 `(n, length)`.

        Raises:
            ValueError: for texts without a token, and for what is no text.
        """
        texts = _checked_texts(texts)
        rows = [split_text(text, self.unit, self.lowercase) for text in texts]
        _check_not_empty(rows)
        numbers = keras.ops.convert_to_numpy(self.layer(np.array(texts, object))).astype(np.int32)
        self._warn_of_loss(rows, numbers)
        return numbers

    def decode(self, numbers: Any) -> list[str]:
        """Texts of token numbers, or of one-hot rows; the end and unknown tokens write nothing.

        Args:
            numbers: `(n, length)` integers in [0, size), or `(n, length, size)` one-hot rows, such
                as a source gets from a `TextProgram`. The length may be any.

        Returns:
            `n` strings.

        Raises:
            ValueError: for other shapes, and numbers that are no token's.
        """
        numbers = np.asarray(keras.ops.convert_to_numpy(numbers))
        if numbers.ndim == 3 and numbers.shape[-1] == self.size:
            numbers = numbers.argmax(axis=-1)
        if numbers.ndim != 2:
            raise ValueError(
                "Token numbers must be (n, length), one-hot rows (n, length, "
                f"{self.size}). Received: shape {numbers.shape}."
            )
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < self.size):
            raise ValueError(
                f"Token numbers must lie in [0, {self.size}). Received: numbers from "
                f"{numbers.min()} to {numbers.max()}. Decode with the vocabulary that they are of."
            )
        written = ("", "", *self.tokens)
        between = " " if self.unit == "words" else ""
        return [between.join(filter(None, (written[int(i)] for i in row))) for row in numbers]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {
            "tokens": list(self.tokens),
            "length": self.length,
            "unit": self.unit,
            "lowercase": self.lowercase,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Vocabulary:
        """Rebuilds what `get_config` wrote."""
        return cls(**config)

    def _check_tokens(self) -> None:
        if not self.tokens:
            raise ValueError("A vocabulary must have a token. Received: none.")
        if repeated := [t for t, count in Counter(self.tokens).items() if count > 1]:
            raise ValueError(f"Each token must occur once. Received: {repeated[0]!r} twice.")
        for token in self.tokens:
            if split_text(token, self.unit, self.lowercase) != [token] or _NUL in token:
                small = " in small letters" if self.lowercase else ""
                raise ValueError(
                    f"Each token must be one of the {self.unit}{small}. Received: {token!r}."
                )

    def _warn_of_loss(self, rows: list[list[str]], numbers: np.ndarray) -> None:
        cut = sum(len(row) > self.length for row in rows)
        unknown, total = int((numbers == UNKNOWN).sum()), int((numbers != END).sum())
        said = [f"{cut} of {len(rows)} texts are longer than {self.length} {self.unit}"] * (cut > 0)
        if unknown:
            known = set(self.tokens)
            first = next(t for row in rows for t in row[: self.length] if t not in known)
            said.append(f"{unknown} of {total} {self.unit} are unknown, the first is {first!r}")
        if said:
            warnings.warn(
                f"A vocabulary cuts long texts and reads unknown {self.unit} as one: "
                f"{'; '.join(said)}.",
                stacklevel=3,
            )


def split_text(text: str, unit: str, lowercase: bool) -> list[str]:
    """A text's tokens, as Keras's `TextVectorization` splits it."""
    # Bytes know ASCII's white space and capitals only, as TensorFlow does.
    content = text.encode("utf-8", errors="replace")
    content = content.lower() if lowercase else content
    if unit == "characters":
        return list(content.decode())
    return [word.decode() for word in content.split()]


def _checked_texts(texts: Iterable[str]) -> list[str]:
    advice = "Pass a list of texts."
    if isinstance(texts, str | bytes):
        raise ValueError(f"Texts must be a list of strings. Received: {texts[:40]!r}. {advice}")
    found = list(texts)
    if not found:
        raise ValueError(f"At least one text is needed. Received: none. {advice}")
    for position, text in enumerate(found):
        if not isinstance(text, str):
            raise ValueError(
                f"Texts must be strings. Received: {type(text).__name__} at position {position}. "
                f"{advice}"
            )
    return found


def _check_not_empty(rows: list[list[str]]) -> None:
    empty = [position for position, row in enumerate(rows) if not row]
    if empty:
        raise ValueError(
            f"Each text must have a token. Received: {len(empty)} of {len(rows)} texts without "
            f"one, the first at position {empty[0]}. Leave them out."
        )
