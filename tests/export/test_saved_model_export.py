"""SavedModels: they run without this package, hold each weight once, and appear whole."""

import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import (
    NUM_CLASSES,
    frozen_source,
    images_and_labels,
    saved_model_source,
    sign_source,
    small_model,
)

from keras_reprogram import FrozenSource, NewHead, embedded_path, export_saved_model
from keras_reprogram.export import saved_model

IMAGES, _ = images_and_labels(13)

SERVE = """
import sys
import numpy as np
import tensorflow as tf

images = np.load(sys.argv[2])
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
scores = [serve(image=tf.constant(part))["scores"].numpy() for part in (images[:1], images)]
np.testing.assert_allclose(scores[0], scores[1][:1], atol=1e-6)
np.save(sys.argv[3], scores[1])
"""


def served_elsewhere(version, tmp_path, images=IMAGES):
    """The scores of a fresh process in another folder, where this package cannot be imported."""
    np.save(tmp_path / "images.npy", images)
    files = [str(version), str(tmp_path / "images.npy"), str(tmp_path / "scores.npy")]
    # Blocked, so that a custom object left in the file would show.
    script = "import sys; sys.modules['keras_reprogram'] = None\n" + SERVE
    run = subprocess.run(
        [sys.executable, "-c", script, *files], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return np.load(tmp_path / "scores.npy")


def sign_twin():
    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    return FrozenSource(network, value_range=(0, 255))


def signature(version):
    return tf.saved_model.load(str(version)).signatures["serving_default"]


def stored_bytes(version):
    return sum(file.stat().st_size for file in (version / "variables").iterdir())


def test_a_fresh_process_without_this_package_agrees(tmp_path) -> None:
    model = small_model(num_views=3)
    version = export_saved_model(model, tmp_path / "signs")
    scores = served_elsewhere(version, tmp_path)
    np.testing.assert_allclose(scores, model.predict(IMAGES, verbose=0), atol=1e-6)


def test_signature_names_and_shapes(tmp_path) -> None:
    serve = signature(export_saved_model(small_model(), tmp_path))
    (image,) = serve.structured_input_signature[1].values()
    assert (image.name, image.shape.as_list(), image.dtype) == (
        "image",
        [None, 4, 4, 1],
        tf.float32,
    )
    assert list(serve.structured_outputs) == ["scores"]
    assert serve.structured_outputs["scores"].shape.as_list() == [None, NUM_CLASSES]


@pytest.mark.parametrize("kind", ["scores", "features", "saved_model"])
def test_every_source_in_the_graph_agrees(kind, tmp_path) -> None:
    if kind == "saved_model":
        model = small_model(saved_model_source(tmp_path / "network"))
    else:
        source = frozen_source(output=kind)
        output_map = NewHead(NUM_CLASSES) if kind == "features" else None
        model = small_model(source, output_map, num_views=2)
    version = export_saved_model(model, tmp_path / "exported")
    scores = signature(version)(image=tf.constant(IMAGES))["scores"].numpy()
    np.testing.assert_allclose(scores, model.predict(IMAGES, verbose=0), atol=1e-6)


def test_each_weight_is_stored_once(tmp_path) -> None:
    model = small_model(sign_twin(), fitted=True)
    version = export_saved_model(model, tmp_path)
    size = 4 * sum(int(np.prod(weight.shape)) for weight in model.weights)
    assert size > 500_000
    assert size < stored_bytes(version) < 1.05 * size


def test_versions_count_up_and_are_never_replaced(tmp_path) -> None:
    model = small_model()
    (tmp_path / "7").mkdir()
    (tmp_path / "notes").mkdir()
    assert [export_saved_model(model, tmp_path).name for _ in range(2)] == ["8", "9"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7", "8", "9", "notes"]


def test_two_writers_take_two_versions(tmp_path, monkeypatch) -> None:
    model = small_model()
    both_written = threading.Barrier(2, timeout=120)
    take = saved_model._take_next_version
    monkeypatch.setattr(
        saved_model, "_take_next_version", lambda *paths: (both_written.wait(), take(*paths))[1]
    )
    taken = []
    writers = [
        threading.Thread(target=lambda: taken.append(export_saved_model(model, tmp_path).name))
        for _ in range(2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(taken) == ["1", "2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_a_version_that_another_writer_took_is_skipped(tmp_path) -> None:
    written = tmp_path / ".part"
    written.mkdir()
    (written / "saved_model.pb").write_bytes(b"x")
    rename = type(written).rename

    def taken_first(self, target):
        if not (tmp_path / "1").exists():
            (tmp_path / "1").mkdir()
            (tmp_path / "1" / "saved_model.pb").write_bytes(b"other")
        return rename(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(written), "rename", taken_first)
        assert saved_model._take_next_version(written, tmp_path).name == "2"
    assert (tmp_path / "1" / "saved_model.pb").read_bytes() == b"other"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_nothing_is_left_when_writing_fails(error, tmp_path, monkeypatch) -> None:
    model = small_model()
    save = tf.saved_model.save

    def interrupted(*arguments, **options):
        save(*arguments, **options)
        raise error("stop")

    monkeypatch.setattr(tf.saved_model, "save", interrupted)
    with pytest.raises(error, match="stop"):
        export_saved_model(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_disagrees_is_not_kept(tmp_path, monkeypatch) -> None:
    model = small_model()
    write = saved_model.write_saved_model

    def other_weights(model, path, source=None):
        write(model, path, source=source)
        model.output_map.bias.assign(model.output_map.bias + [0.0, 1.0, 0.0])

    monkeypatch.setattr(saved_model, "write_saved_model", other_weights)
    with pytest.raises(ValueError, match=r"does not agree with the model: scores differ by 0"):
        export_saved_model(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_keras_twin_of_a_litert_source_is_exported(tmp_path) -> None:
    model = small_model(sign_source(), num_views=2)
    twin = sign_twin()
    before = model.queries_used
    version = export_saved_model(model, tmp_path, source=twin)
    scores = signature(version)(image=tf.constant(IMAGES))["scores"].numpy()
    np.testing.assert_allclose(scores, model.predict(IMAGES, verbose=0), atol=2e-4)
    assert model.queries_used == before + 26


def test_another_network_is_no_twin(tmp_path) -> None:
    model = small_model()
    with pytest.raises(ValueError, match=r"not a twin.*Received: FrozenSource.*twin_tolerance"):
        export_saved_model(model, tmp_path, source=frozen_source(seed=8))
    assert list(tmp_path.iterdir()) == []
    export_saved_model(model, tmp_path, source=frozen_source(seed=8), twin_tolerance=1.0)


def test_later_training_does_not_reach_an_export(tmp_path) -> None:
    model = small_model()
    version = export_saved_model(model, tmp_path)
    before = signature(version)(image=tf.constant(IMAGES))["scores"].numpy()
    model.program.program_weights.assign(model.program.program_weights + 1.0)
    after = signature(version)(image=tf.constant(IMAGES))["scores"].numpy()
    np.testing.assert_array_equal(before, after)
