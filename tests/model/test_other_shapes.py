"""Targets and sources that are no images: rows of numbers, with one axis or two."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import check_program as checks
from checks.check_source import check_source
from keras import ops

from keras_reprogram import (
    CoordinateWise,
    DenseMap,
    FrozenSource,
    LiteRTSource,
    MultiLabelMap,
    OpaqueSource,
    PixelSource,
    Program,
    ProgramLayer,
    QueryLedger,
    ReprogrammedModel,
    SeriesProgram,
    export_litert,
    export_saved_model,
    join_sources,
    load_program,
    save_program,
)
from keras_reprogram.export import export_halves, read_litert_facts
from keras_reprogram.serving.gateway import GatewayServable

# (target_shape, source_shape): a series in samples, one of two channels, words as one-hot rows.
SHAPES = {"one axis": ((6,), (10,)), "two axes": ((6, 2), (10, 2)), "words": ((5,), (5, 7))}
LABELS, CLASSES = 5, 3


@keras.saving.register_keras_serializable(package="tests")
class Padded(keras.layers.Layer):
    """A plain layer: the series in front, weights behind it, in two views."""

    def __init__(self, target_shape, source_shape, **options):
        super().__init__(**options)
        self.target_shape, self.source_shape = tuple(target_shape), tuple(source_shape)
        free = (source_shape[0] - target_shape[0], *source_shape[1:])
        self.theta = self.add_weight(shape=free, initializer="zeros", name="theta")
        self.built = True

    def call(self, series):
        behind = ops.broadcast_to(self.theta, (ops.shape(series)[0], *self.theta.shape))
        front = ops.concatenate([series, ops.tanh(behind)], axis=1)
        return ops.stack([front, ops.flip(front, axis=1)], axis=1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 2, *self.source_shape)

    def get_config(self):
        shapes = {"target_shape": self.target_shape, "source_shape": self.source_shape}
        return super().get_config() | shapes


@keras.saving.register_keras_serializable(package="tests")
class Words(Padded):
    """Token numbers as one-hot rows, mixed by weights."""

    target_range = (0, 3)

    def __init__(self, target_shape, source_shape, **options):
        keras.layers.Layer.__init__(self, **options)
        self.target_shape, self.source_shape = tuple(target_shape), tuple(source_shape)
        start = keras.initializers.RandomNormal(0, 1, seed=0)
        self.theta = self.add_weight(shape=(4, source_shape[1]), initializer=start, name="theta")
        self.built = True

    def call(self, tokens):
        rows = ops.take(self.theta, ops.cast(tokens, "int32"), axis=0)
        return ops.stack([ops.softmax(rows), ops.softmax(-rows)], axis=1)


def network(source_shape):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input(source_shape),
            keras.layers.Flatten(),
            keras.layers.Dense(LABELS, activation="tanh"),
            keras.layers.Dense(LABELS, activation="softmax"),
        ]
    )


def frozen(source_shape, value_range=(-1, 1)):
    return FrozenSource(network(source_shape), value_range=value_range)


def opaque(source_shape, value_range=(-1, 1), **options):
    answering = network(source_shape)

    def ask(rows):
        return ops.convert_to_numpy(answering(rows))

    return OpaqueSource(
        ask, source_shape, LABELS, value_range=value_range, identity="rows", **options
    )


def program_of(kind):
    return (Words if kind == "words" else Padded)(*SHAPES[kind])


def data(kind, count=48):
    random = np.random.default_rng(0)
    shape = (count, *SHAPES[kind][0])
    if kind == "words":
        x = random.integers(0, 4, shape)
        return x, (x == 1).sum(axis=1).clip(0, CLASSES - 1)
    x = random.uniform(-1, 1, shape)
    return x, np.digitize(x.reshape(count, -1)[:, 0], (-0.3, 0.3))


def model_of(kind, source=None, output_map=None, **options):
    source = source or frozen(SHAPES[kind][1])
    model = ReprogrammedModel(program_of(kind), source, output_map or DenseMap(CLASSES), **options)
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHAPES)
def test_white_box_training_and_a_frozen_program(kind):
    x, y = data(kind)
    model = model_of(kind)
    model.fit_output_map(x, y, verbose=0)
    before = checks.as_array(model.program.theta).copy()
    history = model.fit(x, y, epochs=6, verbose=0, validation_split=0.25).history
    assert history["loss"][-1] < history["loss"][0]
    assert not np.array_equal(before, model.program.theta)
    assert model.predict(x, verbose=0).shape == (len(x), CLASSES)
    # Nothing reaches a source any more: answers are stored, and are not taken for series.
    model.program.trainable = False
    used = model.queries_used
    model.fit(x, y, epochs=3, verbose=0)
    assert model.queries_used == used + 2 * len(x)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHAPES)
def test_opaque_training_through_a_ledger(kind, tmp_path):
    x, y = data(kind)
    with QueryLedger(tmp_path / "answers.ledger", budget=4000) as ledger:
        model = model_of(kind, opaque(SHAPES[kind][1], ledger=ledger))
        result = model.fit_opaque(x, y, query_budget=3000, verbose=0)
        assert 0 < model.queries_used <= 3000
        assert ledger.spent == model.queries_used
        again = model_of(kind, opaque(SHAPES[kind][1], ledger=ledger))
        again.fit_output_map(x, y, verbose=0)
        assert ledger.spent == model.queries_used, "known answers are not paid for again"
    assert result is not None


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHAPES)
def test_estimated_gradient_is_the_exact_one(kind):
    x, y = (part[:8] for part in data(kind))
    exact = model_of(kind, output_map=MultiLabelMap(CLASSES, assignment="random"))
    estimator = CoordinateWise(num_coordinates=10**6, smoothing=1e-2)
    estimated = model_of(
        kind,
        opaque(SHAPES[kind][1]),
        MultiLabelMap(CLASSES, assignment="random"),
        gradient_estimator=estimator,
    )
    random = np.random.default_rng(3)
    start = random.normal(0, 0.3, exact.program.theta.shape)
    for model in (exact, estimated):
        model.program.theta.assign(start)
        model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
        model.train_on_batch(x, y)
    steps = [start - checks.as_array(model.program.theta) for model in (exact, estimated)]
    assert np.linalg.norm(steps[0]) > 1e-3
    np.testing.assert_allclose(steps[1], steps[0], rtol=2e-2, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHAPES)
def test_files_and_exports(kind, tmp_path):
    x, y = data(kind)
    model = model_of(kind)
    model.fit_output_map(x, y, verbose=0)
    model.fit(x, y, epochs=2, verbose=0)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), expected, atol=1e-6)
    save_program(model, tmp_path / "model.reprogram")
    again = load_program(tmp_path / "model.reprogram", frozen(SHAPES[kind][1]))
    np.testing.assert_allclose(again.predict(x, verbose=0), expected, atol=1e-6)
    exported = export_saved_model(model, tmp_path / "served")
    assert exported.signatures == ("serving_default", "steps")
    assert "are no images" in exported.notes[0]
    serve = tf.saved_model.load(str(exported.folder)).signatures["serving_default"]
    found = serve(image=tf.constant(x, tf.float32))["scores"].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    file = export_litert(model, tmp_path / "model.tflite")
    assert read_litert_facts(file).target_shape == SHAPES[kind][0]
    answered = LiteRTSource(file, value_range=None)(x[:4].astype("float32"))
    np.testing.assert_allclose(answered, expected[:4], atol=1e-5)
    halves = export_halves(model_of_opaque(kind, x, y), tmp_path / "halves")
    assert halves.difference < 1e-5


def model_of_opaque(kind, x, y):
    model = model_of(kind, opaque(SHAPES[kind][1]))
    model.fit_output_map(x, y, verbose=0)
    return model


@pytest.mark.slow
def test_a_program_file_around_python_code_keeps_its_probe(tmp_path):
    x, y = data("two axes")
    save_program(model_of_opaque("two axes", x, y), tmp_path / "model.reprogram")
    load_program(tmp_path / "model.reprogram", opaque((10, 2)))
    with pytest.raises(ValueError, match="was trained on another source"):
        load_program(tmp_path / "model.reprogram", opaque((20,)))


@pytest.mark.slow
def test_series_beside_a_source_of_series():
    x, y = data("one axis", 120)
    source = join_sources([opaque((10,)), PixelSource((6,), target_range=None)])
    model = model_of("one axis", source)
    model.fit_output_map(x, y, verbose=0)
    assert model.queries_used == 2 * len(x)
    assert model.evaluate(x, y, verbose=0) < 0.7
    model = ReprogrammedModel(model.program, source, DenseMap(CLASSES))
    assert model.asker.answer_shape == (1, 2 * LABELS + 6)


@pytest.mark.slow
def test_a_litert_file_of_samples_is_asked_like_its_network(tmp_path):
    answering = network((10,))
    path = tmp_path / "samples.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(answering).convert())
    source = LiteRTSource(path, value_range=(-1, 1))
    assert source.source_shape == (10,)
    rows = np.random.default_rng(0).uniform(-1, 1, (4, 3, 10)).astype("float32")
    expected = ops.convert_to_numpy(frozen((10,))(rows))
    np.testing.assert_allclose(source(rows), expected, atol=1e-6)
    model = model_of("one axis", source)
    model.fit_output_map(*data("one axis"), verbose=0)
    assert model.queries_used == 48 * 2


@pytest.mark.slow
@pytest.mark.parametrize("answers", ["frozen", "opaque"])
@pytest.mark.parametrize("shape", [(30,), (30, 1)])
def test_sources_of_samples_keep_the_contract(shape, answers):
    answering = network(shape)
    source = FrozenSource(answering, value_range=(0, 255))
    if answers == "opaque":
        frozen_one = source

        def ask(rows):
            return ops.convert_to_numpy(frozen_one(rows))

        source = OpaqueSource(ask, shape, LABELS, value_range=(0, 255), identity="rows")
    # Four copies of seven leave two samples for the program.
    program = SeriesProgram((7,), shape, source_range=(0, 255), scale=0.002)
    check_source(source, answering.get_weights, 1e-5, program)


def test_no_range_is_known():
    source = frozen((10,), value_range=None)
    assert source.value_range is None and source.describe()["value_range"] is None
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(source))
    assert again.value_range is None and again.source_shape == (10,)
    with pytest.raises(ValueError, match="`value_range` of images"):
        OpaqueSource(len, (8, 8, 3), 2, value_range=None, identity="none")
    program = Program((6,), (10,), source_range=None)
    assert program.source_range is None and program.get_config()["source_range"] is None


@pytest.mark.slow
def test_a_series_of_no_known_range_is_cached_and_served(tmp_path):
    x, y = data("one axis")
    source = opaque((10,), value_range=None)
    model = model_of("one axis", source)
    model.program.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit_output_map(x, y, verbose=0)
    used = model.queries_used
    model.fit(x, y, epochs=3, verbose=0)
    assert model.queries_used == used + 2 * len(x)
    halves = export_halves(model, tmp_path)
    gateway = GatewayServable(halves.program, halves.output_map, 1, source)
    found = gateway.run("serving_default", {"image": x.astype("float32")})["scores"]
    np.testing.assert_allclose(found, model.predict(x, verbose=0), atol=1e-6)
    with pytest.raises(ValueError, match=r"fingerprint .*, expected "):
        GatewayServable(halves.program, halves.output_map, 1, opaque((10,)))


def test_estimated_steps_say_that_they_leave_nothing_out():
    source = opaque((10,), value_range=None)
    program = SeriesProgram((6,), (10,), dropout=0.5)
    with pytest.warns(UserWarning, match="a SeriesProgram with random layers .* no effect"):
        ReprogrammedModel(program, source, DenseMap(CLASSES))
    ReprogrammedModel(program, frozen((10,), value_range=None), DenseMap(CLASSES))


BAD = {
    "another length": (np.zeros((4, 7)), r"shape \(n, 6\). Received: shape \(4, 7\)"),
    "one row": (np.zeros(6), r"shape \(n, 6\). Received: shape \(6,\)"),
    "lengths": ([[0.0, 1.0], [0.0]], "rows of different lengths"),
    "objects": (np.array([[0.0, 1.0], [0.0]], object), "rows of different lengths"),
    "none": (np.zeros((0, 6)), "an empty data set"),
    "text": (np.full((4, 6), "a"), "They must be numbers. Received: 'a'"),
    "missing": (np.where(np.arange(24).reshape(4, 6) == 8, np.nan, 0), "nan in row 1, place .2,."),
    "out of range": (np.full((4, 6), 3.0), r"`target_range` \(-1, 1\). Received: values from 3"),
}


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("case", BAD)
def test_bad_targets_are_refused_before_a_query(case):
    x, said = BAD[case]
    program = program_of("one axis")
    program.target_range = (-1.0, 1.0)
    model = ReprogrammedModel(program, opaque((10,)), DenseMap(CLASSES))
    with pytest.raises(ValueError, match=said):
        model.fit_output_map(x, np.arange(len(x)) % 3, verbose=0)
    assert model.queries_used == 0


@pytest.mark.slow
def test_what_is_for_images_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"`source_shape` must be \(height, width, channels\)"):
        ProgramLayer((8, 8, 1), (10,), source_range=(-1, 1))
    with pytest.raises(ValueError, match="`channel_order` is for images"):
        FrozenSource(network((10,)), value_range=(-1, 1), channel_order="bgr")
    with pytest.raises(ValueError, match="of which one axis is open. Received: image_size=10"):
        FrozenSource(network((10,)), value_range=(-1, 1), image_size=10)
    with pytest.raises(ValueError, match="inputs of one length"):
        open_length = keras.Sequential(
            [keras.Input((None, 2)), keras.layers.GlobalMaxPool1D(), keras.layers.Softmax()]
        )
        FrozenSource(open_length, value_range=(-1, 1))
    with pytest.raises(ValueError, match="Only a network of images is placed"):
        join_sources([opaque((10,)), frozen((10,))], target_shape=(6,), target_range=(-1, 1))
    with pytest.raises(ValueError, match="must turn its targets into"):
        ReprogrammedModel(program_of("one axis"), frozen((11,)), DenseMap(CLASSES))
    x, y = data("one axis")
    model = model_of_opaque("one axis", x, y)
    with pytest.raises(ValueError, match="8-bit images"):
        model.check_step(x)
    model = model_of("one axis")
    model.fit_output_map(x, y, verbose=0)
    with pytest.raises(ValueError, match="takes images here. Received: targets of shape"):
        export_litert(model, tmp_path / "android.tflite", target="android")
