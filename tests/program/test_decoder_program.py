"""DecoderProgram and train_decoder: the program contract, files, frozenness, training."""

import keras
import numpy as np
import pytest
from checks import check_program as checks
from checks.tiny_models import random_images
from small_models import (
    assert_equal_values,
    frozen_source,
    images_and_labels,
    opaque_source,
    values,
)

from keras_reprogram import (
    DecoderProgram,
    MultiLabelMap,
    RandomDirections,
    ReprogrammedModel,
    export_litert,
    export_saved_model,
    load_program,
    save_program,
    train_decoder,
)

RANGE = (-1.0, 1.0)
GREY, COLOUR, SOURCE, WIDE = (4, 4, 1), (5, 4, 3), (8, 8, 3), (6, 10, 3)
LATENT = 3


def decoder(rows=4, columns=5, channels=1, seed=0):
    draw = keras.initializers.RandomNormal(stddev=0.7, seed=seed)
    return keras.Sequential(
        [
            keras.Input((LATENT,)),
            keras.layers.Dense(rows * columns * channels, "elu", kernel_initializer=draw),
            keras.layers.Reshape((rows, columns, channels)),
        ]
    )


LAYERS = {
    "grey": ({}, COLOUR, SOURCE, (4, 5, 1)),
    "colour": ({}, GREY, SOURCE, (4, 5, 3)),
    "as large": ({"operation": "subtract"}, COLOUR, WIDE, (6, 10, 3)),
    "larger": ({"operation": "multiply", "strength": 0.5}, COLOUR, WIDE, (12, 12, 1)),
    "to grey": ({"masked": False, "placement": "full"}, COLOUR, (8, 8, 1), (3, 3, 3)),
    "nothing free": ({"placement": "full"}, COLOUR, SOURCE, (4, 4, 1)),
    "views": ({"placement": "views", "num_views": 3}, COLOUR, SOURCE, (4, 4, 1)),
    "per view": (
        {"placement": "views", "num_views": 3, "per_view": True},
        COLOUR,
        SOURCE,
        (4, 4, 1),
    ),
}


def layer(name, **more):
    options, target, source, picture = LAYERS[name]
    facts = {"source_range": RANGE, "target_range": (0, 255)}
    return DecoderProgram(target, source, decoder(*picture), **facts | options | more)


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("name", LAYERS)
def test_decoder_program_keeps_the_contract(name):
    _, target, source, _ = LAYERS[name]
    checks.check_program(layer(name), target, source, RANGE)


@pytest.mark.parametrize("name", ["grey", "per view"])
def test_config_round_trip(name):
    program = layer(name, regularizer=0.1)
    checks.set_weights(program, 0.5)
    again = checks.check_config_round_trip(program)
    images = random_images(2, program.target_shape)
    np.testing.assert_array_equal(again(images), program(images))
    assert len(again.trainable_variables) == 1
    assert len(again.losses) == 1


def test_program_is_the_formula():
    program = layer("grey", strength=0.6, masked=False)
    checks.set_weights(program, 0.5)
    draw = program.decoder
    picture = np.asarray(draw(program.program_weights)) - np.asarray(draw(np.zeros((1, LATENT))))
    wide = keras.ops.image.resize(picture, SOURCE[:2], "bilinear", antialias=True)
    expected = 0.6 * np.tanh(np.repeat(wide, 3, axis=-1))
    np.testing.assert_allclose(program.program_images(), expected, atol=1e-5)


def test_zero_changes_nothing():
    program = layer("colour")
    images = random_images(2, GREY)
    np.testing.assert_array_equal(program.program_images(), 0)
    program.program_weights.assign(np.ones((1, LATENT)))
    assert np.abs(program.program_images()).max() > 0.01
    assert program(images).shape == (2, 1, *SOURCE)


def model_of(program, source, estimator=None):
    output_map = MultiLabelMap(3, weights=np.eye(5, 3) + 0.1)
    model = ReprogrammedModel(program, source, output_map, estimator)
    model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    return model


def signs_model():
    source = opaque_source()
    program = DecoderProgram(GREY, source.source_shape, decoder(), source_range=(0, 255))
    return model_of(program, source, RandomDirections(2))


def test_only_the_latent_vector_is_trained_whatever_is_unfrozen():
    model = signs_model()
    program = model.program
    program.trainable = True
    program.decoder.trainable = True
    assert program.trainable_variables == [program.program_weights]
    others = {id(v) for v in program.non_trainable_variables}
    assert others == {id(v) for v in program.decoder.variables}
    frozen, before = values(program.decoder.weights), values([program.program_weights])[0]
    images, labels = images_and_labels(6)
    model.fit(images, labels, batch_size=3, verbose=0)
    assert model.queries_used == 6 * 3
    assert np.abs(before - values([program.program_weights])[0]).max() > 0
    assert_equal_values(frozen, values(program.decoder.weights))
    program.trainable = False
    assert program.trainable_variables == []
    assert len(program.non_trainable_variables) == len(program.variables) == 3


def test_program_file_and_its_decoder(tmp_path):
    model = signs_model()
    images, labels = images_and_labels(6)
    model.fit(images, labels, verbose=0)
    path = save_program(model, tmp_path / "signs.reprogram")
    again = load_program(path, opaque_source())
    np.testing.assert_array_equal(
        again.predict(images, verbose=0), model.predict(images, verbose=0)
    )


def test_keras_file(tmp_path):
    program = layer("grey")
    checks.set_weights(program, 0.5)
    model = keras.Sequential([keras.Input(COLOUR), program])
    model.save(tmp_path / "program.keras")
    again = keras.models.load_model(tmp_path / "program.keras")
    images = random_images(2, COLOUR)
    np.testing.assert_array_equal(again(images), model(images))


def faces(count=96, shape=(6, 7, 1)):
    """Images of one brightness each: one number tells them."""
    levels = np.random.default_rng(0).uniform(0, 255, (count, 1, 1, 1))
    return np.broadcast_to(levels, (count, *shape)).astype("float32")


@pytest.mark.slow
def test_training_learns_the_images_and_scales_the_codes():
    images = faces()
    trained = train_decoder(images, 2, epochs=40, batch_size=16, verbose=0)
    assert trained.output_shape == (None, 6, 7, 1)
    assert not trained.trainable_variables
    middle = np.asarray(trained(np.zeros((1, 2))))
    assert np.abs(middle - np.mean(images / 127.5 - 1)).mean() < 0.25
    # One standard deviation of the codes is about that of the images.
    codes = np.random.default_rng(1).normal(size=(200, 2))
    spread = np.asarray(trained(codes)).mean(axis=(1, 2, 3)).std()
    assert 0.3 < spread / (images / 127.5).mean(axis=(1, 2, 3)).std() < 2.5


@pytest.fixture(scope="module")
def trained():
    """A decoder for `images_and_labels`, trained with the seed 0."""
    return train_decoder(images_and_labels(8)[0], LATENT, epochs=1, verbose=0)


@pytest.mark.slow
def test_same_seed_same_decoder(trained):
    images, _ = images_and_labels(8)
    again, other = (
        train_decoder(images, LATENT, epochs=1, seed=seed, verbose=0).get_weights()
        for seed in (0, 1)
    )
    assert_equal_values(trained.get_weights(), again)
    assert not np.array_equal(again[0], other[0])


@pytest.mark.slow
def test_large_images_are_shrunk():
    trained = train_decoder(faces(4, (40, 20, 3)), 2, epochs=1, max_size=16, verbose=0)
    assert trained.output_shape == (None, 16, 8, 3)


def test_a_grid_is_refused():
    with pytest.raises(ValueError, match=r"takes no `grid`.*Received: grid=3"):
        layer("grey", grid=3)


def test_a_large_image_warns_at_the_caller():
    with pytest.warns(UserWarning, match="is shrunk to") as warned:
        DecoderProgram((20, 20, 1), SOURCE, decoder(), source_range=RANGE)
    assert [warning.filename for warning in warned] == [__file__]


@pytest.mark.parametrize("wrong", [None, keras.Sequential([keras.Input((4, 4, 1))])])
def test_what_is_no_decoder_is_refused(wrong):
    with pytest.raises(ValueError, match=r"`decoder` must be a Keras model .*Received: "):
        DecoderProgram(GREY, SOURCE, wrong, source_range=RANGE)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((3, 4, 4)), {}, r"`images` must have shape .*Received: shape \(3, 4, 4\)"),
        (np.zeros((0, 4, 4, 1)), {}, "n at least 1"),
        (np.full((3, 4, 4, 1), 300), {}, "must lie in `target_range`.*from 300 to 300"),
        (np.full((3, 4, 4, 1), np.nan), {}, "must lie in `target_range`"),
        (np.zeros((3, 4, 4, 1)), {"latent_size": 0}, "`latent_size` must be a positive integer"),
        (np.zeros((3, 4, 4, 1)), {"epochs": 0}, "`epochs` must be a positive integer"),
        (np.zeros((3, 4, 4, 1)), {"target_range": (1, 0)}, "`target_range` must be"),
    ],
)
def test_wrong_arguments_of_the_training_are_refused(images, options, message):
    with pytest.raises(ValueError, match=message):
        train_decoder(images, **options)


@pytest.mark.slow
def test_a_trained_decoder_is_exported_with_its_program(trained, tmp_path):
    """Both exports run what they wrote and compare it with the model."""
    source = frozen_source()
    program = DecoderProgram(GREY, source.source_shape, trained, source_range=(0, 255))
    checks.set_weights(program, 1.0)
    model = model_of(program, source)
    assert export_saved_model(model, tmp_path / "served")
    assert export_litert(model, tmp_path / "model.tflite")
