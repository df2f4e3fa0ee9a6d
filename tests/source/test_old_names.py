"""`labels` and `scores` of a source, now `class_names` and `score_kind`, work for one version."""

import warnings

import keras
import numpy as np
import pytest
from small_models import frozen_source, opaque_source, sign_source

from keras_reprogram import DenseMap, FrozenSource, OpaqueSource, TFServingSource
from keras_reprogram.source import PythonSource
from keras_reprogram.testing import HostedModel

NAMES = ("stop", "yield")
FACTS = {"value_range": (0, 255), "identity": "halves"}


def halves(images):
    return np.full((len(images), 2), 0.5)


class Mine(OpaqueSource):
    """A subclass of a user, written before the names changed."""

    def __init__(self, labels=NAMES, scores="logits"):
        super().__init__(halves, (4, 4, 3), 2, labels=labels, scores=scores, **FACTS)

    def get_config(self):
        config = self.base_config()
        return {name: config[name] for name in ("class_names", "score_kind")}


class Bare(PythonSource):
    """One more, below the sources that are files or services."""

    def __init__(self):
        super().__init__((4, 4, 3), 2, value_range=(0, 1), labels=NAMES, scores="logits")


BUILT = {
    "opaque": lambda: OpaqueSource(halves, (4, 4, 3), 2, labels=NAMES, scores="logits", **FACTS),
    "remote": lambda: TFServingSource(
        "http://localhost:1", "m", (4, 4, 3), labels=NAMES, scores="logits", **FACTS
    ),
    "subclass": Mine,
    "Python source": Bare,
}


@pytest.mark.parametrize("build", BUILT.values(), ids=BUILT)
def test_old_arguments_work_and_warn_where_they_are_written(build):
    with pytest.warns(DeprecationWarning) as found:
        source = build()
    assert sorted(str(each.message).split(". ")[0] for each in found) == [
        "`labels` is `class_names` now",
        "`scores` is `score_kind` now",
    ]
    assert {each.filename for each in found} == {__file__}
    assert (source.class_names, source.score_kind) == (NAMES, "logits")


def test_old_attributes_are_read_and_set_with_a_warning():
    source = frozen_source()
    with pytest.warns(DeprecationWarning, match="`labels` is `class_names` now") as found:
        source.labels = list("abcde")
    with pytest.warns(DeprecationWarning, match="`labels` is `class_names` now"):
        assert list(source.labels) == list(source.class_names) == list("abcde")
    assert found[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="`scores` is `score_kind` now"):
        assert source.scores == source.score_kind == "probabilities"
    with pytest.raises(AttributeError, match="no attribute 'label'"):
        _ = source.label


def test_other_classes_with_source_names():
    output_map = DenseMap(3)
    with pytest.warns(DeprecationWarning, match="`scores` is `score_kind` now"):
        output_map.attach(scores="logits", score_step=0.0)
    with pytest.warns(DeprecationWarning, match="`scores` is `score_kind` now"):
        assert output_map.scores == "logits"
    with pytest.warns(DeprecationWarning, match="`labels` is `class_names` now"):
        hosted = HostedModel(sign_source(), (32, 32, 3), labels=NAMES)
    with pytest.warns(DeprecationWarning, match="`labels` is `class_names` now"):
        assert hosted.labels == NAMES


def test_both_names_at_once_are_refused():
    with (
        pytest.warns(DeprecationWarning),
        pytest.raises(TypeError, match="`scores` is the old name of `score_kind`. Received: both"),
    ):
        opaque_source(scores="logits", score_kind="logits")


def test_configs_of_before_are_read_and_sources_saved_without_a_warning(tmp_path):
    source = frozen_source(class_names=list("abcde"))
    config = source.get_config()
    old = {
        {"class_names": "labels", "score_kind": "scores"}.get(name, name): value
        for name, value in config.items()
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".* now. The next version")
        assert FrozenSource.from_config(old).get_config() == config
        model = keras.Sequential([keras.Input(source.source_shape), source])
        model.save(tmp_path / "source.keras")
        again = keras.saving.load_model(tmp_path / "source.keras").layers[-1]
    assert again.class_names == source.class_names
    assert again.fingerprint == source.fingerprint


def test_a_subclass_with_the_old_names_is_rebuilt_from_its_config():
    with pytest.warns(DeprecationWarning):
        source = Mine()
    with pytest.warns(DeprecationWarning):
        again = Mine.from_config(source.get_config())
    assert (again.class_names, again.score_kind) == (NAMES, "logits")
