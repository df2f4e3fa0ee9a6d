"""Every form of data and labels that Keras's `fit` takes."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax
from small_models import (
    NUM_CLASSES,
    head_model,
    images_and_labels,
    opaque_source,
    small_model,
    values,
)

from keras_reprogram import DenseMap, MultiLabelMap

IMAGES, LABELS = images_and_labels(26)


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays, size=13):
        super().__init__()
        self.arrays, self.size = arrays, size

    def __len__(self):
        return -(-len(self.arrays[0]) // self.size)

    def __getitem__(self, index):
        rows = slice(index * self.size, (index + 1) * self.size)
        return tuple(array[rows] for array in self.arrays)


def dataset(*arrays, size=13):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(size)


def generator(*arrays):
    yield from Batches(*arrays)


def eager_head(**options):
    """Eager steps need no tracing, which is most of a small fit's time."""
    model = head_model(**options)
    model.run_eagerly = True
    return model


@pytest.fixture(scope="module")
def fitted_on_arrays():
    model = eager_head()
    model.fit(IMAGES, LABELS, batch_size=13, shuffle=False, verbose=0)
    return weights(model), model.evaluate(IMAGES, LABELS, verbose=0), model.predict(IMAGES)


def weights(model):
    return values(model.trainable_variables)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("form", [dataset, Batches, generator])
def test_every_form_of_data_gives_the_same_fit(form, fitted_on_arrays) -> None:
    expected, evaluated, predicted = fitted_on_arrays
    model = eager_head()
    history = model.fit(form(IMAGES, LABELS), shuffle=False, verbose=0)
    for one, other in zip(weights(model), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert history.history["queries_used"] == [26]
    np.testing.assert_allclose(
        model.evaluate(form(IMAGES, LABELS), verbose=0), evaluated, atol=1e-5
    )
    np.testing.assert_allclose(model.predict(form(IMAGES, LABELS), verbose=0), predicted, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("form", [dataset, Batches, generator])
def test_exact_fit_takes_every_form_of_data(form) -> None:
    expected = small_model(opaque_source())
    model = small_model(opaque_source(), fitted=False)
    # Of a generator nobody knows whether it ends before everything is paid.
    steps = 2 if form is generator else None
    model.fit_output_map(form(IMAGES, LABELS), steps=steps, verbose=0)
    assert model.queries_used == 26
    for one, other in zip(weights(model), weights(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_device_that_is_not_there_is_refused_before_a_query(monkeypatch) -> None:
    monkeypatch.setenv("KERAS_REPROGRAM_FIT_DEVICE", "GPU:7")
    model = small_model(opaque_source(), fitted=False)
    for fit in (model.fit_output_map, partial(model.fit_opaque, query_budget=200)):
        with pytest.raises(ValueError, match="device of exact fits must be .* Received: GPU:7"):
            fit(IMAGES, LABELS, verbose=0)
    assert model.queries_used == 0


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float64"])
def test_pixels_of_any_type_predict_the_same(dtype) -> None:
    model = eager_head()
    pixels = np.round(IMAGES)
    np.testing.assert_allclose(
        model.predict(pixels.astype(dtype), verbose=0), model.predict(pixels, verbose=0), atol=1e-6
    )
    as_data = tf.data.Dataset.from_tensor_slices((pixels.astype(dtype), LABELS)).batch(8)
    model.fit(as_data, verbose=0)


@pytest.mark.slow
def test_one_hot_labels_give_the_same_fit(fitted_on_arrays) -> None:
    one_hot = keras.utils.to_categorical(LABELS, NUM_CLASSES)
    model = eager_head()
    model.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy", metrics=["accuracy"])
    model.fit(IMAGES, one_hot, batch_size=13, shuffle=False, verbose=0)
    for one, other in zip(weights(model), fitted_on_arrays[0], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    exact, from_one_hot = small_model(opaque_source()), small_model(opaque_source(), fitted=False)
    from_one_hot.fit_output_map(IMAGES, one_hot, verbose=0)
    for one, other in zip(weights(from_one_hot), weights(exact), strict=True):
        np.testing.assert_array_equal(one, other)


def test_rows_of_probabilities_are_their_largest_class_where_one_is_needed() -> None:
    """Smoothed labels are none of several findings; `fit` learns from all of each row."""
    smooth = 0.9 * np.eye(NUM_CLASSES, dtype="float16")[LABELS] + 0.1 / NUM_CLASSES
    exact, smoothed = small_model(opaque_source()), small_model(opaque_source(), fitted=False)
    exact.fit_output_map(IMAGES, LABELS, verbose=0)
    with pytest.warns(UserWarning, match="the most probable one. `fit` with"):
        smoothed.fit_output_map(IMAGES, smooth, verbose=0)
    for one, other in zip(weights(smoothed), weights(exact), strict=True):
        np.testing.assert_array_equal(one, other)
    smooth[0] = [0.5, 0.5, 0]
    with pytest.warns(UserWarning, match="first class: 1 rows"):
        smoothed.fit_output_map(IMAGES, smooth, verbose=0)
    smoothed.compile("sgd", "categorical_crossentropy")
    read = smoothed.output_map
    features = read.features(smoothed.collect_scores(IMAGES, verbose=0))
    # Keras takes the loss from logits: probabilities of images that are told apart may be 0.
    logits = keras.ops.convert_to_numpy(keras.ops.matmul(features, read.kernel) + read.bias)
    expected = -(smooth * log_softmax(logits.astype(float), axis=1)).sum(axis=1).mean()
    found = smoothed.evaluate(IMAGES, smooth, verbose=0, return_dict=True)["loss"]
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("source", [None, opaque_source])
def test_label_columns_and_whole_floats_are_labels(source) -> None:
    model = small_model(source and source())
    model.run_eagerly = True
    for labels in (LABELS[:, None], LABELS.astype("float32"), LABELS.astype("int8").tolist()):
        model.fit(IMAGES, labels, batch_size=26, verbose=0)
        fit = model.fit_output_map(IMAGES, labels, verbose=0)
        assert fit.validation_accuracy == 1


def test_boolean_labels_are_two_classes() -> None:
    model = small_model(opaque_source(), DenseMap(2), fitted=False)
    model.fit_output_map(IMAGES, LABELS > 0, verbose=0)
    model.fit(IMAGES, LABELS > 0, verbose=0)
    assert model.evaluate(IMAGES, LABELS > 0, return_dict=True, verbose=0)["accuracy"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("label_mode", ["int", "categorical"])
def test_images_from_a_directory(label_mode, tmp_path) -> None:
    for index, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
        folder = tmp_path / f"class_{label}"
        folder.mkdir(exist_ok=True)
        keras.utils.save_img(folder / f"{index}.png", image, scale=False)
    data = keras.utils.image_dataset_from_directory(
        tmp_path, image_size=(4, 4), color_mode="grayscale", label_mode=label_mode, verbose=False
    )
    model = small_model(opaque_source(), fitted=False, class_names=data.class_names)
    model.fit_output_map(data, verbose=0)
    prefix = "" if label_mode == "categorical" else "sparse_"
    model.compile("adam", f"{prefix}categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(data, validation_data=data, verbose=0).history
    assert history["val_accuracy"][0] > 0.9
    assert model.queries_used == 26 * (1 + 2 + 1)
    assert model.class_names == ("class_0", "class_1", "class_2")


@pytest.mark.slow
def test_class_weight_equals_sample_weight() -> None:
    by_class = {0: 1.0, 1: 5.0, 2: 0.5}
    by_image = np.array([by_class[label] for label in LABELS], "float32")
    one, other = eager_head(), eager_head()
    one.fit(IMAGES, LABELS, batch_size=13, class_weight=by_class, verbose=0)
    other.fit(IMAGES, LABELS, batch_size=13, sample_weight=by_image, verbose=0)
    for left, right in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)
    plain = eager_head()
    plain.fit(IMAGES, LABELS, batch_size=13, verbose=0)
    assert np.abs(weights(plain)[-1] - weights(one)[-1]).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("form", [dataset, Batches])
def test_weights_inside_a_data_set(form) -> None:
    weight = np.linspace(0.1, 2, 26).astype("float32")
    one, other = eager_head(), eager_head()
    one.fit(form(IMAGES, LABELS, weight), shuffle=False, verbose=0)
    other.fit(IMAGES, LABELS, 13, sample_weight=weight, shuffle=False, verbose=0)
    for left, right in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)
    solved, expected = (small_model(opaque_source(), fitted=False) for _ in range(2))
    solved.fit_output_map(form(IMAGES, LABELS, weight), verbose=0)
    expected.fit_output_map(IMAGES, LABELS, sample_weight=weight, verbose=0)
    for left, right in zip(weights(solved), weights(expected), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-4)


@pytest.mark.slow
def test_weight_two_in_fit_is_an_image_twice() -> None:
    weight = np.where(LABELS == 1, 2.0, 1.0)
    twice = np.concatenate([np.arange(26), np.flatnonzero(LABELS == 1)])
    models = [eager_head(), eager_head()]
    loss = keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")
    for model in models:
        model.compile(keras.optimizers.SGD(0.1), loss)
    models[0].fit(IMAGES, LABELS, batch_size=64, sample_weight=weight, verbose=0)
    models[1].fit(IMAGES[twice], LABELS[twice], batch_size=64, verbose=0)
    for left, right in zip(*map(weights, models), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)


@pytest.mark.parametrize(
    "how", ["sample_weight", pytest.param("class_weight", marks=pytest.mark.slow)]
)
def test_weight_five_in_the_exact_fit_is_an_image_five_times(how) -> None:
    # Labels that the images do not tell, so that weights decide.
    labels = np.random.default_rng(1).permutation(LABELS)
    heavy = np.where(labels == 1, 5, 1)
    weight = {"sample_weight": heavy, "class_weight": {1: 5.0}}[how]
    weighted, repeated, plain = (
        small_model(opaque_source(), DenseMap(NUM_CLASSES, fit="exact"), fitted=False)
        for _ in range(3)
    )
    options = {"validation_split": 0.0, "verbose": 0}
    weighted.fit_output_map(IMAGES, labels, **{how: weight}, **options)
    repeated.fit_output_map(np.repeat(IMAGES, heavy, 0), np.repeat(labels, heavy), **options)
    plain.fit_output_map(IMAGES, labels, **options)
    one, five, none = (model.predict(IMAGES, verbose=0) for model in (weighted, repeated, plain))
    assert np.abs(one - none).max() > 0.2
    np.testing.assert_allclose(one, five, atol=0.05)


def labels_of_class_one(model):
    return np.flatnonzero(values([model.output_map.label_weights])[0][:, 1]).tolist()


def test_weights_decide_which_labels_are_assigned() -> None:
    source = opaque_source()
    scores = np.zeros((4, 1, 5), "float32")
    scores[[0, 1, 2, 3], 0, [0, 0, 0, 1]] = 1
    labels = np.array([0, 0, 1, 1])
    model = small_model(source, MultiLabelMap(2), fitted=False)
    model.fit_output_map(y=labels, scores=scores, verbose=0)
    assert labels_of_class_one(model) == [1]
    model.fit_output_map(y=labels, scores=scores, sample_weight=[1, 1, 9, 1], verbose=0)
    assert labels_of_class_one(model) == [0]


@pytest.mark.slow
@pytest.mark.parametrize("estimated", [pytest.param(False, marks=pytest.mark.slow), True])
def test_focal_losses(estimated) -> None:
    model = small_model(opaque_source() if estimated else None)
    model.run_eagerly = True
    one_hot = keras.utils.to_categorical(LABELS, NUM_CLASSES)
    for loss in (
        keras.losses.CategoricalFocalCrossentropy(gamma=3.0, alpha=0.25),
        keras.losses.BinaryFocalCrossentropy(),
        "categorical_focal_crossentropy",
    ):
        model.compile("adam", loss, metrics=["accuracy"])
        history = model.fit(IMAGES, one_hot, batch_size=26, verbose=0).history
        assert np.isfinite(history["loss"]).all()


@pytest.mark.slow
def test_validation_data_in_every_form() -> None:
    model = eager_head()
    weight = np.ones(26, "float32")
    forms = [
        (IMAGES, LABELS),
        [IMAGES, LABELS],
        (IMAGES.astype("uint8"), LABELS, weight),
        dataset(IMAGES, LABELS),
        Batches(IMAGES, LABELS),
    ]
    for validation_data in forms:
        before = model.queries_used
        history = model.fit(IMAGES, LABELS, validation_data=validation_data, verbose=0).history
        assert 0 <= history["val_accuracy"][0] <= 1
        assert history["queries_used"] == [before + 52]


@pytest.mark.slow
def test_validation_split_takes_the_last_images() -> None:
    model = eager_head()
    labels = np.where(np.arange(26) < 20, LABELS, 0)
    history = model.fit(IMAGES, labels, validation_split=6 / 26, epochs=2, verbose=0).history
    assert history["queries_used"] == [26, 52]
    expected = model.evaluate(IMAGES[20:], labels[20:], verbose=0)
    assert history["val_loss"][-1] == pytest.approx(expected[0], abs=1e-6)


@pytest.mark.slow
def test_py_dataset_batches_are_shuffled_as_keras_shuffles_them() -> None:
    seen = []

    class Watched(Batches):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    keras.utils.set_random_seed(1)
    eager_head().fit(Watched(IMAGES, LABELS, size=2), verbose=0)
    last = seen[-13:]
    assert sorted(last) == list(range(13))
    assert last != list(range(13))


def test_steps_per_epoch_with_arrays_goes_through_all_images() -> None:
    model = eager_head()
    history = model.fit(IMAGES, LABELS, batch_size=10, steps_per_epoch=2, epochs=3, verbose=0)
    # Batches of 10, 10 | 6, 10 | 10, 6.
    assert history.history["queries_used"] == [20, 36, 52]


@pytest.mark.slow
def test_arguments_by_position_are_those_of_keras() -> None:
    model = eager_head()
    model.fit(IMAGES, LABELS, 13, 1, 0)
    assert model.evaluate(IMAGES, LABELS, 13, 0) == pytest.approx(
        model.evaluate(IMAGES, LABELS, verbose=0), abs=1e-5
    )
    assert model.predict(IMAGES, 13, verbose=0).shape == (26, NUM_CLASSES)
    logs = model.train_on_batch(IMAGES, LABELS, return_dict=True)
    assert set(logs) == {"accuracy", "loss"}
    model.test_on_batch(IMAGES, LABELS)
    assert model.predict_on_batch(IMAGES).shape == (26, NUM_CLASSES)
    assert model.queries_used == 26 * 7
