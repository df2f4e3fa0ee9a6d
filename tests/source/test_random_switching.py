"""Random switching: draws, files, training from the bottom up, sources that answer at random."""

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    OpaqueSource,
    ProgramLayer,
    RandomSwitching,
    ReprogrammedModel,
    join_sources,
    load_program,
    save_program,
    train_random_switching,
)
from keras_reprogram.export import export_blockers

pytestmark = pytest.mark.slow

ROWS = np.random.default_rng(0).random((40, 3)).astype("float32")


def constant(value: float, units: int = 2) -> keras.Model:
    initializer = keras.initializers.Constant(value)
    dense = keras.layers.Dense(units, kernel_initializer="zeros", bias_initializer=initializer)
    return keras.Sequential([keras.Input((3,)), dense])


def answers(layer: RandomSwitching, rows: np.ndarray = ROWS) -> np.ndarray:
    return keras.ops.convert_to_numpy(layer(rows))[:, 0]


def test_a_call_has_one_path_and_images_have_their_own() -> None:
    of_calls = RandomSwitching([constant(float(n)) for n in range(3)], seed=1)
    drawn = np.array([answers(of_calls) for _ in range(300)])
    assert (drawn == drawn[:, :1]).all()
    assert np.bincount(drawn[:, 0].astype(int)).min() > 70

    of_images = RandomSwitching([constant(float(n)) for n in range(3)], draw="image", seed=1)
    drawn = answers(of_images, np.repeat(ROWS, 10, axis=0))
    assert np.bincount(drawn.astype(int)).min() > 90


def test_draws_go_on_inside_a_compiled_function() -> None:
    layer = RandomSwitching([constant(0.0), constant(1.0)], seed=0)
    network = keras.Sequential([keras.Input((3,)), layer])
    drawn = [network.predict_on_batch(ROWS[:2])[0, 0] for _ in range(40)]
    assert 8 < sum(drawn) < 32


def test_a_file_keeps_channels_and_draw(tmp_path: Path) -> None:
    layer = RandomSwitching([constant(2.0), constant(5.0)], draw="image")
    network = keras.Sequential([keras.Input((3,)), layer])
    network.save(tmp_path / "switching.keras")
    read = keras.models.load_model(tmp_path / "switching.keras")
    assert read.layers[0].draw == "image"
    assert set(read.predict(np.repeat(ROWS, 5, axis=0), verbose=0)[:, 0].tolist()) == {2.0, 5.0}


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        ([constant(0.0)], {}, "two or more networks of the same input and output shapes"),
        ([constant(0.0), constant(0.0, units=3)], {}, "Build them with one function"),
        ([constant(0.0), constant(1.0)], {"draw": "batch"}, "`draw`"),
    ],
    ids=("one", "shapes", "draw"),
)
def test_wrong_channels(channels: list[keras.Model], options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandomSwitching(channels, **options)


def images_of_two_classes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(200) % 2
    images = rng.random((200, 6, 6, 1)) * 0.6
    images[labels == 1, :, :3] += 0.4
    return images.astype("float32"), labels


def hidden(shape: tuple[int, ...]) -> keras.Model:
    return keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(8, activation="relu")]
    )


def head(shape: tuple[int, ...]) -> keras.Model:
    return keras.Sequential([keras.Input(shape), keras.layers.Dense(2, activation="softmax")])


def trained_network(seen: list[int], draw: str = "call") -> keras.Model:
    images, labels = images_of_two_classes(0)

    def fit(network: keras.Model) -> None:
        seen.append(len(network.trainable_variables))
        network.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
        network.fit(images, labels, epochs=6, verbose=0)

    keras.utils.set_random_seed(0)
    return train_random_switching([hidden, head], (3, 2), (6, 6, 1), fit, draw=draw, seed=0)


def test_blocks_are_trained_from_the_bottom_up() -> None:
    seen: list[int] = []
    network = trained_network(seen)
    first, second = network.layers
    assert (len(first.channels), len(second.channels)) == (3, 2)
    # The first three networks had no block below; the others trained their head alone.
    assert seen == [4, 4, 4, 2, 2]
    weights = [channel.get_weights()[0] for channel in first.channels]
    assert not np.allclose(weights[0], weights[1])
    images, labels = images_of_two_classes(1)
    assert np.mean(network.predict(images, verbose=0).argmax(1) == labels) > 0.9


def test_wrong_numbers_of_channels() -> None:
    for blocks, numbers in (([], 2), ([hidden], 1), ([hidden, head], (2,))):
        with pytest.raises(ValueError, match="2 or more for each block"):
            train_random_switching(blocks, numbers, (6, 6, 1), lambda network: None)


def model_around(source: FrozenSource | OpaqueSource) -> ReprogrammedModel:
    program = ProgramLayer(
        (4, 4, 1), source.source_shape, source_range=(0, 1), target_range=(0, 1), placement="full"
    )
    return ReprogrammedModel(program, source, DenseMap(2), class_names=("no", "yes"))


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return trained_network([], draw="image")


class TestSource:
    """What does not take answers for the same each time."""

    def test_a_source_around_it_says_that_it_answers_at_random(self, network: keras.Model) -> None:
        source = FrozenSource(network, value_range=(0, 1))
        assert source.answers_at_random and source.describe()["answers_at_random"]
        plain = keras.Sequential([hidden((6, 6, 1)), head((8,))])
        quiet = FrozenSource(plain, value_range=(0, 1))
        assert not quiet.answers_at_random and "answers_at_random" not in quiet.describe()

    def test_a_joint_source_answers_at_random_if_any_part_does(self, network: keras.Model) -> None:
        plain = keras.Sequential([hidden((6, 6, 1)), head((8,))])
        *parts, other = (FrozenSource(one, value_range=(0, 1)) for one in (network, plain, plain))
        for asked, beside in (parts, parts[::-1]):
            joint = join_sources([asked, beside], target_shape=(4, 4, 1), target_range=(0, 1))
            assert joint.answers_at_random
        quiet = join_sources([parts[1], other], target_shape=(4, 4, 1), target_range=(0, 1))
        assert not quiet.answers_at_random

    def test_epochs_ask_again(self, network: keras.Model, tmp_path: Path) -> None:
        source = FrozenSource(network, value_range=(0, 1))
        model = model_around(source)
        model.program.trainable = False
        images, labels = np.random.default_rng(0).random((20, 4, 4, 1)), np.arange(20) % 2
        model.fit_output_map(images, labels, verbose=0)
        model.compile("adam", loss="sparse_categorical_crossentropy")
        expected = model.estimate_queries(20, recipe="fit", epochs=3)
        assert expected.total == 60
        before = model.queries_used
        with pytest.warns(UserWarning, match="the source answers at random"):
            model.fit(images, labels, epochs=3, cache_features=tmp_path, verbose=0)
        assert model.queries_used - before == 60

    def test_exports_are_refused(self, network: keras.Model) -> None:
        model = model_around(FrozenSource(network, value_range=(0, 1)))
        images, labels = np.random.default_rng(0).random((20, 4, 4, 1)), np.arange(20) % 2
        model.fit_output_map(images, labels, verbose=0)
        (blocker,) = export_blockers(model)
        assert "The source answers at random" in blocker

    def test_a_program_file_compares_no_answer(self, network: keras.Model, tmp_path: Path) -> None:
        def opaque(answers_at_random: bool) -> OpaqueSource:
            return OpaqueSource(
                network.predict_on_batch,
                (6, 6, 1),
                2,
                value_range=(0, 1),
                identity="switching",
                answers_at_random=answers_at_random,
            )

        images, labels = np.random.default_rng(0).random((20, 4, 4, 1)), np.arange(20) % 2
        model = model_around(opaque(True))
        model.fit_output_map(images, labels, verbose=0)
        save_program(model, tmp_path / "task.reprogram")
        read = load_program(tmp_path / "task.reprogram", opaque(True))
        assert read.predict(images, verbose=0).shape == (20, 2)
        assert read.queries_used == 20
