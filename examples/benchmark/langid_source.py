r"""The language identifier of the package langid as a source of texts: 97 languages, no network.

    pip install langid
    keras-reprogram train --source examples/benchmark/langid_source.py:source \
        --target questions.csv --num-views 8

langid (Lui and Baldwin 2012) is a linear model of byte sequences. It is asked about texts of
letters of seven alphabets.
"""

from __future__ import annotations

import numpy as np

from keras_reprogram import OpaqueSource, Vocabulary

# Every alphabet that langid knows many languages of; where it begins, and how many letters.
ALPHABETS = (
    (0x61, 26),
    (0xE0, 32),
    (0x3B1, 25),
    (0x430, 32),
    (0x5D0, 27),
    (0x627, 36),
    (0x905, 53),
)
LENGTH = 40
LETTERS = [chr(code) for start, count in ALPHABETS for code in range(start, start + count)]
VOCABULARY = Vocabulary([" ", *LETTERS], LENGTH, unit="characters")


def source() -> OpaqueSource:
    """langid, asked for its log-probabilities of all languages."""
    try:
        from langid.langid import LanguageIdentifier, model
    except ImportError:
        raise ImportError(
            "The source langid needs the package langid. Received: no such package. "
            "pip install langid"
        ) from None
    identifier = LanguageIdentifier.from_modelstring(model, norm_probs=False)

    def scores(rows: np.ndarray) -> np.ndarray:
        texts = VOCABULARY.decode(rows)
        counts = np.array([identifier.instance2fv(text) for text in texts])
        return identifier.nb_classprobs(counts).astype(np.float32)

    return OpaqueSource(
        scores,
        (VOCABULARY.length, VOCABULARY.size),
        len(identifier.nb_classes),
        value_range=(0, 1),
        identity=f"langid {len(identifier.nb_classes)}",
        class_names=identifier.nb_classes,
        score_kind="logits",
    )
