"""The base class's defaults, for its subclasses and for users' plain layers."""

import json

import keras
import numpy as np
import pytest
from checks import check_program as checks
from checks.tiny_models import random_images
from small_models import NUM_CLASSES, SOURCE_SHAPE, frozen_source, opaque_source, small_model

from keras_reprogram import Placement, Program, ProgramLayer, View
from keras_reprogram.export.checks import sample_images
from keras_reprogram.export.graph_decoder import why_no_files
from keras_reprogram.export.litert_agreement import Agreement
from keras_reprogram.export.litert_facts import litert_facts, read_litert_facts, with_facts
from keras_reprogram.export.server_files import FACTS_FILE, write_facts
from keras_reprogram.program.program import as_program, target_range_of
from keras_reprogram.report import ProgramImages

SHAPE = (4, 4, 3)
RANGE = (-1.0, 1.0)
SILENT = "does not declare the `target_range`"


@keras.saving.register_keras_serializable(package="tests")
class Fading(Program):
    """A user's subclass with an argument of its own."""

    def __init__(self, *shapes, steps=1, **facts):
        super().__init__(*shapes, **facts)
        self.steps = steps

    def build(self, input_shape):
        self.fade = self.add_weight(shape=(3,), initializer="zeros", name="fade")

    def call(self, images):
        faded = keras.ops.cast(images, "float32") / 255 - 1 + self.fade / self.steps
        return keras.ops.clip(faded, *self.source_range)[:, None]

    def get_config(self):
        return super().get_config() | {"steps": self.steps}


def fading(**facts):
    facts = {"source_range": RANGE, "target_range": (0, 255)} | facts
    program = Fading(**{"target_shape": SHAPE, "source_shape": SHAPE} | facts)
    program.build((None, *SHAPE))
    return program


def test_a_subclass_keeps_the_contract():
    checks.check_program(fading(), SHAPE, SHAPE, RANGE)


@pytest.mark.parametrize("target_range", [(0, 255), None])
@pytest.mark.parametrize("trainable", [True, False])
def test_config_round_trip(target_range, trainable):
    program = fading(target_range=target_range, steps=2)
    program.trainable = trainable
    config = program.get_config()
    assert config["target_range"] == target_range
    again = Fading.from_config(json.loads(json.dumps(config)))
    again.build((None, *SHAPE))
    again.set_weights([np.full(3, 0.5)])
    program.set_weights([np.full(3, 0.5)])
    images = random_images(2, SHAPE)
    np.testing.assert_array_equal(again(images), program(images))
    assert again.get_config() == config


WRONG_FACTS = [
    ({"target_shape": (4, 0)}, "`target_shape` must be"),
    ({"source_shape": (4, 0, 3)}, "`source_shape` must be"),
    ({"source_range": (1, 0)}, "`source_range` must be"),
    ({"target_range": (0, 0)}, "`target_range` must be"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG_FACTS)
def test_wrong_facts_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        fading(**wrong)


def test_other_images_are_refused():
    with pytest.raises(ValueError, match="incompatible with the layer"):
        fading()(np.zeros((2, 4, 4, 1)))


class Plain(keras.layers.Layer):
    """A user's own layer, which has never heard of `Program`."""

    target_shape = SOURCE_SHAPE

    def __init__(self, **said):
        super().__init__()
        for name, value in said.items():
            setattr(self, name, value)

    def call(self, images):
        return images[:, None]


def test_a_plain_layer_stays_itself_with_the_defaults():
    layer = Plain()
    model = small_model(opaque_source(), program=layer, fitted=False)
    assert model.program is layer
    assert (layer.source_range, layer.target_range, layer.placement) == (None, None, None)
    assert layer.program_images() is None
    assert layer.live_coordinates().shape == (0,)
    with pytest.raises(ValueError, match="Plain has no views to change. Received: 1 views"):
        layer.use_placement(Placement([View(0, 0, 4, 4)]))


@keras.saving.register_keras_serializable(package="tests")
class Shade(keras.layers.Layer):
    """A plain layer that a file can hold."""

    target_shape = SOURCE_SHAPE

    def build(self, input_shape):
        self.shade = self.add_weight(shape=(1,), initializer="zeros", name="shade")

    def call(self, images):
        return (images + self.shade)[:, None]


def test_a_plain_layer_is_saved_as_itself(tmp_path):
    layer = Shade()
    config = keras.saving.serialize_keras_object(layer)
    model = small_model(frozen_source(), program=layer, fitted=False)
    images = random_images(12, SOURCE_SHAPE)
    model.fit_output_map(images, np.arange(12) % NUM_CLASSES, verbose=0)
    layer.shade.assign([5.0])
    model.save(tmp_path / "plain.keras")
    again = keras.saving.load_model(tmp_path / "plain.keras")
    assert keras.saving.serialize_keras_object(again.program)["config"] == config["config"]
    found = again.predict(images, verbose=0)
    np.testing.assert_allclose(found, model.predict(images, verbose=0), atol=1e-6)


def test_what_a_plain_layer_says_itself_holds():
    def live_coordinates():
        return [True, False]

    layer = as_program(Plain(live_coordinates=live_coordinates, placement="everywhere"))
    assert layer.live_coordinates is live_coordinates
    model = small_model(opaque_source(), program=layer, fitted=False)
    with pytest.raises(ValueError, match="needs a program that places images.*Plain"):
        model.use_placement(Placement([View(0, 0, 4, 4)]))


@pytest.mark.parametrize("layer", [keras.layers.Flatten(), None], ids=["Flatten", "None"])
def test_what_is_no_program_is_refused(layer):
    with pytest.raises(ValueError, match="must be a layer with a `target_shape`"):
        as_program(layer)


class Brighter(Plain):
    """A program without `transform`, and without an argument `training`."""

    target_shape = SHAPE

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(3,), initializer="zeros", name="bias")

    def call(self, images):
        return (images + self.bias)[:, None]


class Noisy(Brighter):
    """Random while training."""

    def build(self, input_shape):
        super().build(input_shape)
        self.dropout = keras.layers.Dropout(0.9, seed=0)

    def call(self, images, training=True):
        return self.dropout(super().call(images), training=training)


class Passing(Noisy):
    def call(self, images, **options):
        return super().call(images, **options)


@pytest.mark.parametrize("layer", [Brighter, Noisy, Passing])
@pytest.mark.parametrize("rows", [1, 3])
def test_each_image_meets_its_own_weights(layer, rows):
    program = as_program(layer())
    program.build((None, *SHAPE))
    images = random_images(3, SHAPE)
    values = np.arange(3 * rows, dtype="float32").reshape(rows, 3)
    found = keras.ops.convert_to_numpy(program.transform(images, values))
    expected = (images + values[:, None, None, :])[:, None]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def json_of(model, folder):
    write_facts(folder, model, model.source, ("a", "b", "c"), ("serving_default",), None)
    return json.loads((folder / FACTS_FILE).read_text())["target_range"]


def litert_of(model, folder):
    facts = litert_facts(model, model.source, "float32", Agreement(1, 1.0, 0.0))
    (folder / "a.tflite").write_bytes(with_facts(b"TFL3", facts))
    return read_litert_facts(folder / "a.tflite").target_range


def picture_of(model, images, folder):
    pictures = ProgramImages(folder, sample_images=images)
    pictures.set_model(model)
    return pictures._target_pictures()["target images"]


@pytest.mark.parametrize("said", [{}, {"target_range": None}], ids=["nothing", "None"])
def test_a_range_that_nobody_says_is_unknown_everywhere(said, tmp_path):
    model = small_model(opaque_source(), program=Plain(**said), fitted=False)
    assert target_range_of(model.program) is None
    assert model.data_checks.target_range is None
    assert json_of(model, tmp_path) is None
    assert litert_of(model, tmp_path) is None
    assert SILENT in why_no_files(model)
    # Whatever the images' scale, it is not refused, and two forms are compared on two scales.
    for scale in (1e-3, 1.0, 1e3):
        model.collect_scores(scale * np.ones((2, *SOURCE_SHAPE)), verbose=0)
    images = sample_images(model)
    assert images[::2].max() <= 1 < 200 < images[1::2].max() <= 255
    # Pictures go from the darkest to the brightest value.
    images = np.linspace(-3, 5, np.prod(SOURCE_SHAPE)).reshape(1, *SOURCE_SHAPE)
    picture = picture_of(model, images, tmp_path)
    assert (picture.min(), picture.max()) == (0, 1)


@pytest.mark.parametrize("said", [(-1.0, 1.0), [-1, 1]], ids=["tuple", "list"])
def test_a_range_that_is_said_is_the_same_everywhere(said, tmp_path):
    model = small_model(opaque_source(), program=Plain(target_range=said), fitted=False)
    assert target_range_of(model.program) == (-1.0, 1.0)
    assert model.data_checks.target_range == (-1.0, 1.0)
    assert json_of(model, tmp_path) == [-1.0, 1.0]
    assert litert_of(model, tmp_path) == (-1.0, 1.0)
    assert why_no_files(model) is None
    assert -1 <= sample_images(model).min() < 0
    picture = picture_of(model, np.full((1, *SOURCE_SHAPE), 0.5), tmp_path)
    np.testing.assert_allclose(picture, 0.75)


@pytest.mark.parametrize("said", [(1, 0), (0,), (0, float("nan"))])
def test_what_is_no_range_is_refused(said):
    with pytest.raises(ValueError, match="`target_range` must be"):
        target_range_of(Plain(target_range=said))


def test_a_program_of_ours_says_it():
    program = ProgramLayer((4, 4, 1), (8, 8, 3), source_range=(0, 255))
    assert target_range_of(program) == (0.0, 255.0)
