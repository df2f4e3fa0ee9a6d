"""The builder of the counting task writes what the generator draws."""

import importlib
import sys
from typing import Any

import numpy as np
import pytest

from keras_reprogram.datasets import draw_squares


def test_builder_writes_what_is_drawn(
    prepare: Any, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("keras_reprogram.datasets.builders.squares_counting")
    monkeypatch.setattr(module, "TRAIN_IMAGES", 20)
    monkeypatch.setattr(module, "TEST_IMAGES", 10)
    builder = prepare("squares_counting")
    assert builder.info.features["label"].names == [str(count) for count in range(1, 11)]
    splits = read(builder)
    for split, count, seed in (("train", 20, module.TRAIN_SEED), ("test", 10, module.TEST_SEED)):
        images, labels = draw_squares(count, seed)
        drawn = sorted((int(labels[k]), images[k].tobytes()) for k in range(count))
        written = sorted((int(row["label"]), row["image"].tobytes()) for row in splits[split])
        assert written == drawn
    assert np.unique(splits["test"][0]["image"]).tolist() == [0, 255]


def test_missing_tfds_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("keras_reprogram.datasets.bu")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-reprogram\[datasets\]'"):
        importlib.import_module("keras_reprogram.datasets.builders")
