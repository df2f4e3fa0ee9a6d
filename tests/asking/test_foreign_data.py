"""Data of other packages, made by these packages: what works, and what the error says instead."""

import numpy as np
import pytest
from small_models import TARGET_SHAPE, images_and_labels, opaque_source, small_model

grain = pytest.importorskip("grain")
pandas = pytest.importorskip("pandas")

IMAGES, LABELS = images_and_labels(24)
ROWS = list(zip(IMAGES, LABELS, strict=True))


@pytest.fixture(scope="module")
def model():
    return small_model(opaque_source())


def grain_batches():
    return grain.MapDataset.source(ROWS).batch(8)


def collected(data):
    """The line that the errors name."""
    return (np.concatenate([np.asarray(one) for one in parts]) for parts in zip(*(data)))  # noqa: B905


def test_grain_is_read_batch_by_batch_and_counted(model) -> None:
    before = model.queries_used
    model.fit_output_map(grain_batches(), verbose=0)
    found = model.predict(grain_batches(), verbose=0)
    assert model.queries_used - before == 2 * 24
    np.testing.assert_allclose(found, model.predict(IMAGES, verbose=0), atol=1e-6)


def test_the_line_for_arrays_works() -> None:
    x, y = collected(grain_batches())
    np.testing.assert_array_equal(x, IMAGES)
    np.testing.assert_array_equal(y, LABELS)


def test_data_of_unknown_length_need_their_steps(model) -> None:
    data = grain.MapDataset.source(ROWS).to_iter_dataset().batch(8)
    with pytest.raises(ValueError, match="Received: a BatchIterDataset.*Pass `steps=`"):
        model.predict(data, verbose=0)
    before = model.queries_used
    model.fit_output_map(data, steps=3, verbose=0)
    assert model.queries_used - before == 24


FRAME = pandas.DataFrame(IMAGES.reshape(24, -1))


@pytest.mark.parametrize("method", ["fit_opaque", "fit_output_map"])
def test_columns_of_pixels_are_refused_with_the_line_that_reads_them(model, method) -> None:
    before = model.queries_used
    options = {"query_budget": 30} if method == "fit_opaque" else {}
    line = r"reshape\(-1, (4, 4, 1|h, w, c)\).*load_manifest\(data\)"
    with pytest.raises(ValueError, match=line):
        getattr(model, method)(FRAME, LABELS, verbose=0, **options)
    assert model.queries_used == before
    again = FRAME.to_numpy("float32").reshape(-1, *TARGET_SHAPE)
    np.testing.assert_array_equal(again, IMAGES)


def test_columns_of_labels_groups_and_weights_are_taken_by_position(model) -> None:
    index = np.arange(100, 124)
    labels, weight = pandas.Series(LABELS, index=index), pandas.Series(np.ones(24), index=index)
    groups = pandas.Series([f"patient {number // 2}" for number in range(24)], index=index)
    before = model.queries_used
    model.fit_opaque(
        IMAGES, labels, groups=groups, sample_weight=weight, query_budget=24, verbose=0
    )
    assert model.queries_used - before == 24


def test_images_in_one_column_are_stacked(model) -> None:
    column = pandas.Series(list(IMAGES))
    with pytest.raises(ValueError, match=r"24 objects in one column.*np.stack\(list\(images\)\)"):
        model.predict(column, verbose=0)
    np.testing.assert_array_equal(np.stack(list(column)), IMAGES)


def test_batches_where_arrays_are_needed(model) -> None:
    with pytest.raises(ValueError, match="a BatchMapDataset, which yields batches. Collect them"):
        model.fit_opaque(grain_batches(), None, query_budget=30)
    with pytest.raises(ValueError, match="Images must be one array of one shape"):
        model.fit_opaque([IMAGES[0], IMAGES[1, :2]], LABELS[:2], query_budget=30)
    with pytest.raises(ValueError, match="Received: 'photos/'. Pass pixels"):
        model.fit_opaque("photos/", LABELS, query_budget=30)


@pytest.mark.slow
def test_hugging_face(model) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Array3D(TARGET_SHAPE, "float32"), "label": datasets.Value("int64")}
    )
    data = datasets.Dataset.from_dict({"image": IMAGES, "label": LABELS}, features=features)
    for refused in (
        lambda: model.predict(data, verbose=0),
        lambda: model.fit_opaque(data, None, query_budget=30),
    ):
        with pytest.raises(ValueError, match=r"Hugging Face Dataset with image, label.*data\["):
            refused()
    # What the error says.
    np.testing.assert_array_equal(np.stack([np.asarray(one) for one in data["image"]]), IMAGES)
    batches = data.with_format("numpy").to_tf_dataset(
        columns="image", label_cols="label", batch_size=8
    )
    before = model.queries_used
    model.fit_output_map(batches, verbose=0)
    assert model.queries_used - before == 24


def test_torch(model) -> None:
    torch = pytest.importorskip("torch")
    utils = torch.utils.data
    rows = utils.TensorDataset(torch.tensor(IMAGES), torch.tensor(LABELS))
    loader = utils.DataLoader(rows, batch_size=8)
    before = model.queries_used
    np.testing.assert_allclose(
        model.predict(loader, verbose=0), model.predict(IMAGES, verbose=0), atol=1e-6
    )
    model.fit_output_map(loader, verbose=0)
    model.fit(loader, verbose=0)
    assert model.queries_used - before == 3 * 24 + 24 * (
        1 + model.gradient_estimator.num_directions
    )
    x, y = collected(loader)
    np.testing.assert_array_equal(x, IMAGES)
    with pytest.raises(ValueError, match="a DataLoader, which yields batches. Collect them"):
        model.fit_opaque(loader, None, query_budget=30)
    with pytest.raises(ValueError, match="torch TensorDataset, which gives single images"):
        model.fit_opaque(rows, None, query_budget=30)
    first = utils.TensorDataset(torch.tensor(IMAGES).movedim(-1, 1), torch.tensor(LABELS))
    with pytest.raises(ValueError, match=r"channels first.*`images.movedim\(1, -1\)`"):
        model.predict(utils.DataLoader(first, batch_size=8), verbose=0)
