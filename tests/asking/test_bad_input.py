"""Each mistake has a message: what was expected, what came, how to fix it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import (
    NUM_CLASSES,
    SOURCE_SHAPE,
    TARGET_SHAPE,
    directions,
    frozen_source,
    images_and_labels,
    network,
    opaque_source,
    program_for,
    small_model,
)

from keras_reprogram import (
    DenseMap,
    MultiLabelMap,
    NewHead,
    OpaqueSource,
    ProgramLayer,
    ReprogrammedModel,
)

IMAGES, LABELS = images_and_labels(12)


@pytest.fixture(scope="module")
def model():
    return small_model(opaque_source())


@pytest.fixture(autouse=True)
def _nothing_is_asked(model):
    """Every check comes before the first query."""
    before = model.queries_used
    yield
    assert model.queries_used == before


METHODS = {
    "fit": lambda model, x, y: model.fit(x, y, verbose=0),
    "evaluate": lambda model, x, y: model.evaluate(x, y, verbose=0),
    "predict": lambda model, x, y: model.predict(x, verbose=0),
    "fit_output_map": lambda model, x, y: model.fit_output_map(x, y, verbose=0),
    "collect_scores": lambda model, x, y: model.collect_scores(x, verbose=0),
    "validation": lambda model, x, y: model.fit(IMAGES, LABELS, validation_data=(x, y), verbose=0),
}


def changed(value):
    images = IMAGES.copy()
    images[3, 1, 1, 0] = value
    return images


BAD_IMAGES = {
    "no channel axis": (IMAGES[..., 0], r"4 axes.*\(n, 4, 4, 1\).*Received: shape \(12, 4, 4\)"),
    "single image": (IMAGES[0], r"4 axes.*Received: shape \(4, 4, 1\).*image\[None\]"),
    "size": (np.zeros((2, 5, 4, 1)), r"shape \(4, 4, 1\). Received: shape \(5, 4, 1\). Resize"),
    "channels": (np.zeros((2, 4, 4, 3)), r"Received: shape \(4, 4, 3\).*convert their channels"),
    "too bright": (changed(256.5), r"`target_range` \(0, 255\). Received: .* to 256.5. Rescale"),
    "negative": (changed(-9), r"`target_range` \(0, 255\). Received: values from -9 to"),
    "divided by 255": (IMAGES / 255, r"one 8-bit step of it.*Rescale.*`target_range=\(0, 1\)`"),
    "divided, half precision": ((IMAGES / 255).astype("float16"), "one 8-bit step"),
    "divided, from -1 to 1": (IMAGES / 127.5 - 1, r"values from -.*`target_range=\(-1, 1\)`"),
    "channels first": (np.zeros((2, 3, 16, 16)), r"\(3, 16, 16\), which seem.*np.moveaxis\(images"),
    "nan": (changed(np.nan), r"finite. Received: NaN or infinity in image 3"),
    "infinity": (changed(np.inf), r"finite. Received: NaN or infinity in image 3"),
    "empty": (IMAGES[:0], "At least one image is needed. Received: an empty data set"),
    "text": (np.full((2, *TARGET_SHAPE), "a"), r"must be numbers. Received: dtype <U1"),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
@pytest.mark.parametrize("method", METHODS)
def test_images(method, kind, model) -> None:
    images, message = BAD_IMAGES[kind]
    with pytest.raises(ValueError, match=message):
        METHODS[method](model, images, LABELS[: len(images)])


def label_rows(*first):
    """One-hot rows, but for the first ones."""
    rows = np.eye(NUM_CLASSES)[LABELS]
    for row, changed_row in enumerate(first):
        rows[row] = changed_row
    return rows


NO_ONE_CLASS = r"must be one-hot, or probabilities that sum to 1. Received: {}.*Multi-label"

BAD_LABELS = {
    "several findings": (label_rows([1, 1, 0]).astype("uint8"), NO_ONE_CLASS.format("1 of 12")),
    "no finding": (label_rows([1, 0, 0], [0, 0, 0]), NO_ONE_CLASS.format(r"1 of 12 .*row 1: \[0")),
    "true and false": (label_rows([1, 0, 1]).astype(bool), NO_ONE_CLASS.format("1 of 12")),
    "scores": (label_rows([2.5, -1, -0.5]), NO_ONE_CLASS.format("1 of 12")),
    "percentages": (100 * label_rows(), NO_ONE_CLASS.format("12 of 12")),
    "nan in a row": (label_rows([1, np.nan, 0]), NO_ONE_CLASS.format("1 of 12")),
    "words in rows": (label_rows().astype(str), r"Label rows must be numbers. Received: dtype"),
    "lists of findings": (
        [[0], [1, 2], []] * 4,
        r"one label. Received: lists of different lengths.*targets=\"multi_label\"",
    ),
    "negative": (LABELS - 1, r"lie in \[0, 3\).*Received: labels from -1 to 1. Number"),
    "too large": (LABELS + 1, r"lie in \[0, 3\).*Received: labels from 1 to 3"),
    "too few": (LABELS[:5], r"\(12,\) integers or \(12, 3\) one-hot rows. Received: shape \(5,\)"),
    "one-hot of others": (np.eye(4)[LABELS], r"Received: shape \(12, 4\).*num_classes"),
    "none": (None, r"Labels are needed here. Received: y=None"),
    "fractions": (LABELS + 0.5, r"whole numbers. Received: label 0.5. Number"),
    "nan": (np.where(LABELS, np.nan, 0.0), r"whole numbers. Received: label nan"),
    "text": (np.array(["a", "b", "c"] * 4), r"whole numbers. Received: dtype <U1.*one-hot"),
}


@pytest.mark.parametrize("kind", BAD_LABELS)
@pytest.mark.parametrize("method", ["fit", "evaluate", "fit_output_map", "validation"])
def test_labels(method, kind, model) -> None:
    labels, message = BAD_LABELS[kind]
    with pytest.raises(ValueError, match=message):
        METHODS[method](model, IMAGES, labels)


@pytest.mark.parametrize("kind", ["several findings", "no finding", "nan in a row"])
def test_multi_label_rows_are_refused_wherever_labels_enter(kind, model) -> None:
    rows, message = BAD_LABELS[kind]
    views = small_model(opaque_source(), fitted=False)
    scores = np.full((12, 1, 5), 0.2)
    for method in (
        lambda: model.fit_opaque(IMAGES, rows, query_budget=100, verbose=0),
        lambda: model.fit_opaque(
            IMAGES, LABELS, validation_data=(IMAGES, rows), query_budget=100, verbose=0
        ),
        lambda: views.select_views(IMAGES, rows, verbose=0),
        lambda: model.fit_output_map(y=rows, scores=scores, verbose=0),
        lambda: model.fit_output_map(as_data(IMAGES, rows).batch(5), verbose=0),
        lambda: model.fit(Batches([(IMAGES, rows)]), verbose=0),
        lambda: model.evaluate(as_data(IMAGES, rows).batch(12), verbose=0),
    ):
        with pytest.raises(ValueError, match=message.replace("12", r"\d+")):
            method()
    assert views.queries_used == 0


class Batches(keras.utils.PyDataset):
    def __init__(self, batches) -> None:
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def as_data(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays)


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict", "fit_output_map"])
def test_data_sets(method, model) -> None:
    empty = as_data(IMAGES, LABELS).take(0).batch(4)
    for data in (empty, Batches([])):
        with pytest.raises(ValueError, match="At least one image is needed. Received: an empty"):
            METHODS[method](model, data, None)
    with pytest.raises(ValueError, match=r"Received: shape \(4, 4, 1\).*\.batch\(32\)"):
        METHODS[method](model, as_data(IMAGES, LABELS), None)
    with pytest.raises(ValueError, match=r"Received: values from"):
        METHODS[method](model, Batches([(IMAGES * 3, LABELS)]), None)
    if method != "predict":
        with pytest.raises(ValueError, match=r"Labels are needed here.*\(x, y\) batches"):
            METHODS[method](model, as_data(IMAGES).batch(4), None)
        with pytest.raises(ValueError, match=r"Received: labels from 1 to 3"):
            METHODS[method](model, as_data(IMAGES, LABELS + 1).batch(12), None)


def hugging_face(name, base=list):
    """A class that says of itself that it is theirs; the package is none of ours."""
    return type(name, (base,), {"__module__": "datasets.arrow_dataset"})


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict", "fit_output_map"])
def test_data_of_other_packages_get_advice(method, model) -> None:
    rows = [{"img": image, "label": label} for image, label in zip(IMAGES, LABELS, strict=True)]

    class Rows(hugging_face("Dataset", object)):
        def __iter__(self):
            return iter(rows)

        def __len__(self):
            return len(rows)

    Rows.__module__, Rows.__name__ = "datasets.arrow_dataset", "Dataset"
    both = hugging_face("DatasetDict", dict)(train=Rows(), test=Rows())
    for data, message in (
        (Rows(), r"Received: a Hugging Face Dataset with img, label. Pass.*data\['img'\]"),
        (Rows(), r"to_tf_dataset\(columns='img', label_cols='label', batch_size=32\)"),
        (both, r"Received: a DatasetDict with 'train', 'test'. Choose one.*data\['train'\]"),
        ("photos/", r"Received: a str that yields texts, 'p' first. Read image files with"),
        (Batches(rows), r"Received: dictionaries with img, label. Yield tuples"),
    ):
        with pytest.raises(ValueError, match=message):
            METHODS[method](model, data, None)


def test_the_last_batch_is_looked_at_before_the_first_is_paid(model) -> None:
    for images, labels, message in (
        (changed(999), LABELS, "target_range"),
        (IMAGES, np.where(np.arange(12) == 11, 7, LABELS), "labels from"),
        (IMAGES, LABELS // 2, r"Received: none of \['2'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit_output_map(as_data(images, labels).batch(2), verbose=0)
    with pytest.raises(ValueError, match="target_range"):
        model.collect_scores(as_data(changed(999)).batch(2), verbose=0)


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict", "validation"])
def test_where_answers_cost_all_batches_are_looked_at_first(method, model) -> None:
    last = np.concatenate([IMAGES[:8], IMAGES[8:] / 255])
    late = METHODS[method]
    with pytest.raises(ValueError, match="one 8-bit step of it"):
        late(model, as_data(last, LABELS).batch(4), None)


def test_a_generator_is_looked_at_batch_by_batch() -> None:
    """What can be read only once: the bad batch is not asked."""
    costly = small_model(opaque_source())
    before = costly.queries_used

    def batches():
        yield IMAGES[:4]
        yield IMAGES[4:8] / 255

    with pytest.raises(ValueError, match="one 8-bit step of it"):
        costly.predict(((images,) for images in batches()), steps=2, verbose=0)
    assert costly.queries_used == before + 4
    with pytest.raises(ValueError, match="one 8-bit step of it"):
        labelled = ((images, LABELS[:4]) for images in batches())
        costly.fit(labelled, steps_per_epoch=2, verbose=0)


@pytest.mark.parametrize("method", ["check_step", "select_views", "fit_opaque"])
def test_every_other_way_in_looks_at_the_range(method, model) -> None:
    dark = (IMAGES / 255).repeat(4, axis=0), LABELS.repeat(4)
    ways = {
        "check_step": lambda: model.check_step(dark[0]),
        "select_views": lambda: model.select_views(*dark, pool_size=2, verbose=0),
        "fit_opaque": lambda: model.fit_opaque(*dark, query_budget=100, verbose=0),
    }
    with pytest.raises(ValueError, match="one 8-bit step of it"):
        ways[method]()


def test_a_training_set_of_the_first_codes_is_refused_and_dark_images_are_predicted() -> None:
    costly = small_model(opaque_source())
    masks = (IMAGES.mean() < IMAGES).astype("uint8")
    with pytest.raises(ValueError, match="one 8-bit step of it"):
        costly.fit_output_map(masks, LABELS, verbose=0)
    # A single image may well be as dark.
    assert costly.predict(masks[:1], verbose=0).shape == (1, NUM_CLASSES)


def test_a_set_that_uses_little_of_the_range_is_said(model) -> None:
    with pytest.warns(UserWarning, match=r"only a part.*from 0.* to 1[56]"):
        small_model(fitted=False).fit_output_map(np.clip(IMAGES / 16, 0, 15.9), LABELS, verbose=0)


def test_endless_data_sets_are_refused(model) -> None:
    class Endless(Batches):
        num_batches = None

    for data in (as_data(IMAGES, LABELS).batch(4).repeat(), Endless([(IMAGES, LABELS)])):
        with pytest.raises(ValueError, match=r"must end.*Received: an endless data set.*take"):
            model.fit_output_map(data, verbose=0)


def test_a_class_without_a_training_image(model) -> None:
    with pytest.raises(ValueError, match=r"Every class .*Received: none of \['1', '2'\]. Add"):
        model.fit_output_map(IMAGES, np.zeros(12, int), verbose=0)
    named = small_model(opaque_source(), class_names=("stop", "go", "wait"))
    with pytest.raises(ValueError, match=r"Received: none of \['go'\]"):
        named.fit_output_map(IMAGES, np.where(LABELS == 1, 0, LABELS), verbose=0)


@pytest.mark.parametrize("method", ["fit", "evaluate", "fit_output_map"])
def test_sample_weights_of_another_length(method, model) -> None:
    with pytest.raises(
        ValueError, match=r"`sample_weight` must be \(12,\).*Received: shape \(5,\)"
    ):
        getattr(model, method)(IMAGES, LABELS, sample_weight=np.ones(5), verbose=0)


NO_NUMBERS = np.where(np.arange(12) == 3, np.nan, 1.0)
WEIGHTS = {
    "sample_weight": (NO_NUMBERS, -np.ones(12)),
    "class_weight": ({0: np.nan}, {1: -1.0}, {"cat": 2.0}, {NUM_CLASSES: 2.0}),
    "groups": (np.arange(5), NO_NUMBERS),
    "validation_split": (1.0, -0.1, np.nan),
}


@pytest.mark.parametrize("argument", WEIGHTS)
def test_all_of_an_exact_fit_is_looked_at_before_the_first_query(argument, model) -> None:
    for value in WEIGHTS[argument]:
        with pytest.raises(ValueError, match=rf"`{argument}` .*Received: ") as caught:
            model.fit_output_map(IMAGES, LABELS, verbose=0, **{argument: value})
        assert len(str(caught.value)) < 250
    if argument not in ("sample_weight", "validation_split"):
        batches = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(4)
        with pytest.raises(ValueError, match=rf"`{argument}` .*Received: "):
            model.fit_output_map(batches, verbose=0, **{argument: WEIGHTS[argument][0]})


@pytest.mark.parametrize("argument", ["sample_weight", "class_weight"])
def test_steps_take_no_weights_that_are_no_numbers(argument, model) -> None:
    for value in WEIGHTS[argument]:
        with pytest.raises(ValueError, match=rf"`{argument}` .*Received: "):
            model.fit(IMAGES, LABELS, verbose=0, **{argument: value})
    with pytest.raises(ValueError, match="`sample_weight` must be finite"):
        model.evaluate(IMAGES, LABELS, sample_weight=NO_NUMBERS, verbose=0)


def test_arguments_that_belong_to_arrays_are_refused_with_data_sets(model) -> None:
    data = as_data(IMAGES, LABELS).batch(4)
    for options in (
        {"y": LABELS},
        {"sample_weight": np.ones(12)},
        {"validation_split": 0.2},
    ):
        with pytest.raises(ValueError, match=r"(should not be passed|only supported)"):
            model.fit(data, **options, verbose=0)


def test_stored_scores_of_another_model(model) -> None:
    for scores in (np.zeros((12, 5)), np.zeros((12, 2, 5)), np.full((12, 1, 5), np.nan)):
        with pytest.raises(ValueError, match=r"`scores` must be .*\(n, 1, 5\).*Received: shape"):
            model.fit_output_map(y=LABELS, scores=scores, verbose=0)
    with pytest.raises(ValueError, match=r"Received: shape \(12,\)"):
        model.fit_output_map(y=LABELS, scores=np.full((4, 1, 5), 0.2), verbose=0)


@pytest.mark.parametrize("output_map", [DenseMap, MultiLabelMap])
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_a_map_that_was_never_fitted(method, output_map) -> None:
    model = small_model(opaque_source(), output_map(NUM_CLASSES), fitted=False)
    with pytest.raises(
        ValueError, match=rf"before `{method}`.*fit_output_map.*Received: a {output_map.__name__}"
    ):
        METHODS[method](model, IMAGES, LABELS)
    assert model.queries_used == 0


def lying(answer, **options):
    facts = {"value_range": (0, 255), "identity": "liar"} | options
    return OpaqueSource(answer, SOURCE_SHAPE, 5, **facts)


LIES = {
    "shape": (lambda images: np.full((len(images), 4), 0.25), r"Received: shape \(12, 4\)"),
    "rows": (lambda images: np.full((3, 5), 0.2), r"answer 12 images.*Received: shape \(3, 5\)"),
    "nan": (lambda images: np.full((len(images), 5), np.nan), r"NaN.*Received: image 0"),
    "sum": (lambda images: np.full((len(images), 5), 0.1), r"Received: a row that sums to 0.5"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_source_that_lies(lie) -> None:
    answer, message = LIES[lie]
    source = lying(answer)
    model = ReprogrammedModel(program_for(source), source, DenseMap(NUM_CLASSES))
    with pytest.raises(ValueError, match=message):
        model.fit_output_map(IMAGES, LABELS, verbose=0)


# === Parts that do not fit together ===


def joined(program=None, source=None, output_map=None, **options):
    source = source or opaque_source()
    return ReprogrammedModel(
        program or program_for(source), source, output_map or DenseMap(NUM_CLASSES), **options
    )


class FourAxes(keras.layers.Layer):
    target_shape = TARGET_SHAPE

    def call(self, images):
        return keras.ops.zeros((keras.ops.shape(images)[0], *SOURCE_SHAPE))


def test_parts_that_do_not_fit_together() -> None:
    other_range = ProgramLayer(TARGET_SHAPE, SOURCE_SHAPE, source_range=(0, 1))
    other_shape = ProgramLayer(TARGET_SHAPE, (9, 9, 3), source_range=(0, 255))
    for message, parts in {
        r"reads, \(0.0, 255.0\). Received: source_range=\(0.0, 1.0\)": {"program": other_range},
        r"\(n, views, 8, 8, 3\). Received: shape \(None, 1, 9, 9, 3\)": {"program": other_shape},
        r"Received: shape \(None, 8, 8, 3\).*needs its axis": {"program": FourAxes()},
        r"`target_shape`.*Received: Dense": {"program": keras.layers.Dense(3)},
        r"must be a `Source`. Received: Sequential. .*FrozenSource": {"source": network()},
        r"3 classes. Received: 2 names": {"class_names": ("a", "b")},
        r"`seed` must lie in .*Received: seed=-1": {"seed": -1},
        r"3 classes with 2 source labels each need 6.*Received: a source with 5. Pass": {
            "output_map": MultiLabelMap(NUM_CLASSES, labels_per_class=2)
        },
        r"6 classes .*Received: a source with 5. Use a `DenseMap`": {
            "output_map": MultiLabelMap(6)
        },
        r"NewHead reads features.*Received: a source with score_kind='probabilities'": {
            "output_map": NewHead(NUM_CLASSES)
        },
    }.items():
        parts.setdefault("program", program_for(frozen_source()))
        with pytest.raises(ValueError, match=message):
            joined(**parts)


def test_a_model_that_is_not_compiled_is_refused_by_keras() -> None:
    model = joined(output_map=NewHead(3), source=frozen_source(output="features"))
    with pytest.raises(ValueError, match=r"call `compile\(\)`"):
        model.fit(IMAGES, LABELS, verbose=0)


@pytest.mark.parametrize(
    "loss",
    [None, {"output_map": "mse"}, keras.losses.SparseCategoricalCrossentropy(reduction="sum")],
)
def test_losses_that_no_estimator_can_follow(loss) -> None:
    source = frozen_source(output="features")
    model = joined(source=source, output_map=NewHead(NUM_CLASSES), gradient_estimator=directions())
    model.compile("sgd", loss)
    with pytest.raises(ValueError, match=r"Estimating a gradient needs.*Received: "):
        model.fit(IMAGES, LABELS, verbose=0)
    assert model.queries_used == 0
