"""Program files: the trained part alone, tied to its source."""

import io
import json
import shutil
import zipfile

import numpy as np
import pytest
from small_models import (
    IDENTITY,
    NUM_CLASSES,
    assert_equal_values,
    directions,
    frozen_source,
    images_and_labels,
    opaque_source,
    saved_model_source,
    sign_source,
    small_model,
    values,
)

from keras_reprogram import (
    MultiLabelMap,
    NewHead,
    OpaqueSource,
    load_program,
    read_description,
    save_program,
)

IMAGES, LABELS = images_and_labels(13)
NAMES = ("stop", "go", "wait")


def trained(source=None, **options):
    model = small_model(source or opaque_source(), class_names=NAMES, seed=9, **options)
    model.program.program_weights.assign(
        np.random.default_rng(0).normal(0, 1, model.program.program_weights.shape)
    )
    return model


def small_part(model):
    return values(model.program.weights + model.output_map.weights)


@pytest.fixture
def program_file(tmp_path):
    return save_program(trained(), tmp_path / "signs.reprogram")


SOURCES = {
    "frozen": lambda folder: frozen_source(),
    "features": lambda folder: frozen_source(output="features"),
    "callable": lambda folder: opaque_source(),
    "litert": lambda folder: sign_source(),
    "saved_model": lambda folder: saved_model_source(folder / "network"),
}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("kind", SOURCES)
def test_round_trip(kind, tmp_path) -> None:
    output_map = NewHead(NUM_CLASSES) if kind == "features" else None
    estimator = directions(4, smoothing=0.02)
    model = trained(
        SOURCES[kind](tmp_path), output_map=output_map, num_views=2, estimator=estimator
    )
    path = save_program(model, str(tmp_path / "new folder" / "signs.reprogram"))
    again = load_program(path, SOURCES[kind](tmp_path))
    assert_equal_values(small_part(again), small_part(model))
    assert again.program.get_config() == model.program.get_config()
    assert again.output_map.get_config() == model.output_map.get_config()
    assert again.gradient_estimator.get_config() == model.gradient_estimator.get_config()
    assert (again.class_names, again.seed) == (NAMES, 9)
    np.testing.assert_allclose(
        again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), atol=1e-6
    )
    again.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    again.fit(IMAGES, LABELS, verbose=0)


def test_map_without_a_fit_comes_back_without_one(tmp_path) -> None:
    model = small_model(opaque_source(), MultiLabelMap(NUM_CLASSES), fitted=False)
    again = load_program(save_program(model, tmp_path / "a.reprogram"), opaque_source())
    assert not again.output_map.ready


@pytest.mark.parametrize("source", [frozen_source, sign_source])
def test_file_holds_exactly_program_and_map(source, tmp_path) -> None:
    model = trained(source())
    path = save_program(model, tmp_path / "signs.reprogram")
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["program.json", "weights.npz"]
        stored = np.load(io.BytesIO(archive.read("weights.npz")), allow_pickle=False)
        arrays = [stored[name] for name in stored.files]
    assert_equal_values(arrays, small_part(model))
    assert path.stat().st_size < 1.1 * sum(a.nbytes for a in arrays) + 10_000
    assert [file.name for file in tmp_path.iterdir()] == ["signs.reprogram"]


def test_description_is_readable_without_the_source(program_file) -> None:
    described = read_description(program_file)
    assert described["class_names"] == list(NAMES)
    assert described["queries_used"] == 26
    assert described["source"]["num_labels"] == 5
    assert described["source"]["class"] == "OpaqueSource"
    json.dumps(described)


def test_another_source_is_refused(tmp_path) -> None:
    path = save_program(trained(frozen_source()), tmp_path / "a.reprogram")
    with pytest.raises(
        ValueError, match=r"another source.*Expected: .*Received: .*Pass the source"
    ):
        load_program(path, frozen_source(seed=8))
    load_program(path, frozen_source(max_batch=3))


def test_another_identity_is_refused(program_file) -> None:
    with pytest.raises(ValueError, match=r"another source.*Received: "):
        load_program(program_file, opaque_source(identity="version 2"))


def test_changed_answers_of_the_same_identity_are_refused(program_file) -> None:
    changed = opaque_source(seed=8)
    with pytest.raises(ValueError, match=r"answers the probe image.*Received: .*check_probe=False"):
        load_program(program_file, changed)
    assert changed.queries_used == 1
    load_program(program_file, changed, check_probe=False)
    assert changed.queries_used == 1

    def slightly_rounded(images):
        return np.round(opaque_source().function(images), 2)

    rounded = OpaqueSource(
        slightly_rounded, (8, 8, 3), 5, value_range=(0, 255), identity=IDENTITY, score_step=0.01
    )
    load_program(program_file, rounded)


@pytest.mark.parametrize("name", ["signs.keras", "signs", "signs.reprogram.zip"])
def test_suffix_is_checked(name, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"must end in `.reprogram`. Received: "):
        save_program(trained(), tmp_path / name)


def test_a_file_is_replaced_only_if_asked_to(program_file) -> None:
    before = program_file.read_bytes()
    model = trained(num_views=2)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_program(model, program_file)
    assert program_file.read_bytes() == before
    save_program(model, program_file, overwrite=True)
    assert load_program(program_file, opaque_source()).queries_per_prediction == 2


def test_a_missing_file_is_named(tmp_path) -> None:
    for read in (read_description, lambda path: load_program(path, opaque_source())):
        with pytest.raises(FileNotFoundError, match="nothing.reprogram"):
            read(tmp_path / "nothing.reprogram")


def foreign_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")


def rewritten(**changes):
    def write(path):
        with zipfile.ZipFile(path) as archive:
            described = json.loads(archive.read("program.json"))
            weights = archive.read("weights.npz")
        described = {k: v for k, v in (described | changes).items() if v is not ...}
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("program.json", json.dumps(described))
            archive.writestr("weights.npz", weights)

    return write


def with_entry(name, content):
    def write(path):
        other = path.with_suffix(".old")
        shutil.move(path, other)
        with zipfile.ZipFile(other) as old, zipfile.ZipFile(path, "w") as new:
            for entry in old.namelist():
                new.writestr(entry, content if entry == name else old.read(entry))

    return write


def flipped(path):
    content = bytearray(path.read_bytes())
    for position in range(len(content) // 3, len(content) // 3 + 60):
        content[position] ^= 0xFF
    path.write_bytes(bytes(content))


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a zip"),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "flipped": flipped,
    "foreign zip": foreign_zip,
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "no json": with_entry("program.json", b"\x00"),
    "a list": with_entry("program.json", b"[]"),
    "no numbers": with_entry("weights.npz", b"abc"),
    "no format": rewritten(format=...),
    "no fingerprint": rewritten(fingerprint=...),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_and_foreign_files_are_refused(damage, program_file) -> None:
    DAMAGES[damage](program_file)
    with pytest.raises(ValueError, match=r"not a program file, or it is corrupt.*Received: "):
        load_program(program_file, opaque_source())
    with pytest.raises(ValueError, match=r"not a program file, or it is corrupt"):
        read_description(program_file)


def test_weights_of_another_shape_are_refused(program_file) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, np.zeros(3))
    with_entry("weights.npz", buffer.getvalue())(program_file)
    with pytest.raises(ValueError, match=r"weights do not fit.*Received: shapes \[\(3,\)\]"):
        load_program(program_file, opaque_source())


def test_pickled_weights_are_not_executed(program_file) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, np.array([print], dtype=object), allow_pickle=True)
    with_entry("weights.npz", buffer.getvalue())(program_file)
    with pytest.raises(ValueError, match="corrupt"):
        load_program(program_file, opaque_source())


def test_a_newer_format_says_so(program_file) -> None:
    rewritten(format=2, keras_reprogram="9.0", program=...)(program_file)
    with pytest.raises(ValueError, match=r"format 2; this version reads format 1. Received: .*9.0"):
        load_program(program_file, opaque_source())
