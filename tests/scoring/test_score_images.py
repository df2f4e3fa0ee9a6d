"""Scores equal the model's; bad images are set aside; what is there is not done again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scored_images import (
    assert_each_once,
    bad,
    example,
    pixels,
    png,
    scores,
    write_records,
)
from small_models import SOURCE_SHAPE, network, small_model

from keras_reprogram import OpaqueSource, QueryLedger, save_program
from keras_reprogram.export.server_files import FACTS_FILE
from keras_reprogram.scoring import models, run, score_images
from keras_reprogram.source.errors import BudgetSpentError


def files_in(photos: Path) -> list[str]:
    return sorted(str(file) for file in photos.rglob("*.png"))


def test_scores_are_those_of_the_model(tiny, photos, tmp_path):
    result = score_images(tiny.folder, photos, tmp_path / "out", shard_size=4, batch_size=3)

    assert result == run.ScoringResult(tmp_path / "out", 10, 0, 10)
    found = scores(result.output)
    assert list(found) == files_in(photos)
    images = np.stack([np.asarray(Image.open(file))[..., None] for file in found])
    expected = tiny.model.predict(images.astype("float32"), verbose=0)
    given = np.array([row["probabilities"] for row in found.values()])
    np.testing.assert_allclose(given, expected, atol=1e-6)
    for row, probabilities in zip(found.values(), given, strict=True):
        assert row["class"] == ["dark", "grey", "light"][probabilities.argmax()]
        assert row["probability"] == probabilities.max()
    assert len(list((result.output / "scores").iterdir())) == 3
    assert json.loads((result.output / "score.json").read_text())["class_names"][0] == "dark"


def test_a_program_file_scores_as_its_export(tiny, photos, tmp_path):
    score_images(tiny.folder, photos, tmp_path / "export")
    score_images(tiny.program, photos, tmp_path / "program", source=lambda: tiny.model.source)
    export, program = scores(tmp_path / "export"), scores(tmp_path / "program")
    assert export.keys() == program.keys()
    for name, row in export.items():
        np.testing.assert_allclose(row["probabilities"], program[name]["probabilities"], atol=1e-6)


def test_bad_images_are_set_aside_and_change_no_other(tiny, photos, tmp_path):
    score_images(tiny.folder, photos, tmp_path / "good")
    (photos / "0" / "text.png").write_text("no image")
    (photos / "0" / "empty.jpg").touch()
    whole = (photos / "0" / "00000.png").read_bytes()
    (photos / "1" / "half.png").write_bytes(whole[: len(whole) // 2])
    result = score_images(tiny.folder, photos, tmp_path / "out", shard_size=5)

    assert result.num_bad == 3
    assert probabilities(result.output) == pytest.approx(probabilities(tmp_path / "good"))
    reasons = bad(result.output)
    assert {Path(name).name for name in reasons} == {"text.png", "empty.jpg", "half.png"}
    assert "no known kind of image file" in reasons[str(photos / "0" / "text.png")]


def test_formats_that_only_python_decodes_are_scored(tiny, tmp_path):
    for suffix in ("png", "tiff"):
        Image.fromarray(pixels(1)).save(tmp_path / f"one.{suffix}")
    score_images(tiny.folder, [tmp_path / "one.png", tmp_path / "one.tiff"], tmp_path / "out")
    one, other = scores(tmp_path / "out").values()
    assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_a_file_that_vanishes_is_bad_and_not_lost(tiny, photos, tmp_path, monkeypatch):
    first = files_in(photos)[0]
    opened = run._open_output

    def open_and_remove(*arguments):
        Path(first).unlink()
        return opened(*arguments)

    monkeypatch.setattr(run, "_open_output", open_and_remove)
    names = files_in(photos)
    score_images(tiny.folder, photos, tmp_path / "out")
    assert_each_once(tmp_path / "out", names)
    assert "No such file" in bad(tmp_path / "out")[first]


def probabilities(output: Path) -> dict[str, list[float]]:
    return {name: row["probability"] for name, row in scores(output).items()}


class Killed(BaseException):
    """Ends a run where no `except Exception` sees it."""


@pytest.fixture
def killed_run(tiny, photos, tmp_path, monkeypatch):
    """An output whose run ended within its third shard of two images."""
    (photos / "0" / "text.png").write_text("no image")
    scorer = models.loaded(models.open_model(tiny.folder))
    calls = []

    def score(images):
        calls.append(len(images))
        if len(calls) == 3:
            raise Killed
        return type(scorer).score(scorer, images)

    monkeypatch.setattr(scorer, "score", score)
    with pytest.raises(Killed):
        score_images(tiny.folder, photos, tmp_path / "out", shard_size=2)
    return tmp_path / "out", calls


def test_a_killed_run_goes_on_with_what_is_missing(tiny, photos, killed_run):
    output, calls = killed_run
    done = {file: file.stat().st_mtime_ns for file in (output / "scores").iterdir()}
    assert len(done) == 2
    reported = []
    result = score_images(
        tiny.folder,
        photos,
        output,
        shard_size=2,
        progress=lambda done, total: reported.append((done, total)),
    )

    assert result.num_new == 7
    assert sum(calls[3:]) == 7
    assert reported[0] == (4, 11)
    assert reported[-1] == (11, 11)
    assert_each_once(output, [*files_in(photos)])
    assert {file: file.stat().st_mtime_ns for file in done} == done
    assert score_images(tiny.folder, photos, output, shard_size=2).num_new == 0
    assert sum(calls[3:]) == 7


def test_bad_images_of_a_shard_that_was_not_finished_are_written_anew(tiny, photos, tmp_path):
    (photos / "0" / "text.png").write_text("no image")
    score_images(tiny.folder, photos, tmp_path / "out")
    (tmp_path / "out" / "scores" / "part-000000.jsonl").unlink()
    score_images(tiny.folder, photos, tmp_path / "out")
    assert_each_once(tmp_path / "out", files_in(photos))


def test_outputs_of_other_runs_are_refused(tiny, photos, tmp_path):
    output = tmp_path / "out"
    score_images(tiny.folder, photos, output)
    other = shutil.copytree(tiny.folder, tmp_path / "other" / "1")
    (other / "assets" / "labels.txt").write_text("a\nb\nc\n")
    with pytest.raises(ValueError, match="belongs to another model"):
        score_images(other, photos, output)
    with pytest.raises(ValueError, match="shards of another size"):
        score_images(tiny.folder, photos, output, shard_size=5)
    with pytest.raises(ValueError, match="another format"):
        score_images(tiny.folder, photos, output, rows="parquet")
    with pytest.raises(ValueError, match="belongs to other images"):
        score_images(tiny.folder, files_in(photos)[:-1], output)
    (photos / "0" / "00000.png").write_bytes(b"changed")
    with pytest.raises(ValueError, match="images that have changed"):
        score_images(tiny.folder, photos, output)
    (output / "score.json").write_text("{")
    with pytest.raises(ValueError, match="is corrupt"):
        score_images(tiny.folder, photos, output)
    with pytest.raises(ValueError, match="holds something else"):
        score_images(tiny.folder, photos, photos)


def test_records_of_tfrecords(tiny, photos, tmp_path):
    contents = [example("image/encoded", png(number)) for number in range(5)]
    contents += [b"\xff\xff", example("picture", png(5))]
    file = write_records(tmp_path / "all.tfrecord-00000-of-00001", contents)
    score_images(tiny.folder, file, tmp_path / "out", shard_size=2)
    score_images(tiny.folder, photos, tmp_path / "files")

    files = {Path(name).stem: row for name, row in scores(tmp_path / "files").items()}
    found = scores(tmp_path / "out")
    assert list(found) == [f"{file}#{number}" for number in range(5)]
    for number, row in enumerate(found.values()):
        assert row["probabilities"] == pytest.approx(files[f"{number:05d}"]["probabilities"])
    reasons = bad(tmp_path / "out")
    assert reasons[f"{file}#5"] == "the record is no tf.Example"
    assert reasons[f"{file}#6"] == "no bytes in the feature image/encoded; its features: picture"
    score_images(tiny.folder, file, tmp_path / "other", feature="picture")
    assert list(scores(tmp_path / "other")) == [f"{file}#6"]


def test_rows_of_parquet_in_and_out(tiny, photos, tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra parquet")
    from pyarrow import parquet

    table = pyarrow.table(
        {
            "image": [png(number) for number in range(6)] + [None],
            "path": [f"photos/{n % 2}/{n:05d}.png" for n in range(6)] + ["nowhere.png"],
            "both": [{"bytes": png(n), "path": None} for n in range(6)] + [None],
        }
    )
    file = tmp_path / "photos.parquet"
    parquet.write_table(table, file, row_group_size=3)
    found = {}
    for column in ("image", "path", "both"):
        output = tmp_path / column
        result = score_images(
            tiny.folder, file, output, column=column, rows="parquet", shard_size=2
        )
        assert (result.num_images, result.num_bad) == (7, 1)
        assert list(bad(output)) == [f"{file}#6"]
        found[column] = parquet.read_table(output / "scores").to_pylist()
        assert [row["image"] for row in found[column]] == [f"{file}#{n}" for n in range(6)]
    assert found["image"] == found["path"] == found["both"]
    assert "No such file" in bad(tmp_path / "path")[f"{file}#6"]
    with pytest.raises(ValueError, match=r"Its columns are image, path, both"):
        score_images(tiny.folder, file, tmp_path / "out", column="picture")


def test_an_opaque_source_behind_a_ledger_is_never_asked_twice(photos, tmp_path):
    asked = []
    answer = network().predict_on_batch

    def ask(images):
        asked.append(len(images))
        return answer(images)

    def source(ledger):
        return OpaqueSource(
            ask, SOURCE_SHAPE, 5, value_range=(0, 255), identity="tiny, 1", ledger=ledger
        )

    def score(ledger):
        return score_images(
            program,
            photos,
            tmp_path / "out",
            source=lambda: source(ledger),
            shard_size=3,
            batch_size=2,
        )

    file = tmp_path / "queries.ledger"
    with QueryLedger(file, 200) as ledger:
        program = save_program(small_model(source(ledger)), tmp_path / "tiny.reprogram")
        spent = ledger.spent
    asked.clear()
    with pytest.raises(ValueError, match="must have a ledger"):
        score(None)
    with QueryLedger(file, spent + 7) as ledger, pytest.raises(BudgetSpentError):
        score(ledger)
    assert 3 <= len(scores(tmp_path / "out")) < 10
    with QueryLedger(file, spent + 10) as ledger:
        score(ledger)
        assert ledger.spent == spent + 10
    assert sum(asked) == 10
    assert_each_once(tmp_path / "out", files_in(photos))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rows": "csv"}, "jsonl, parquet"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"shard_size": 0}, "`shard_size` must be at least 1"),
        ({"source": lambda: None}, "--source is for a .reprogram file"),
    ],
)
def test_arguments_that_do_not_fit(tiny, photos, tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        score_images(tiny.folder, photos, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_models_that_score_no_image_files(tiny, photos, tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no model nowhere"):
        score_images("nowhere", photos, tmp_path / "out")
    with pytest.raises(ValueError, match=f"Choose one of: {tiny.folder}"):
        score_images(tiny.folder.parent, photos, tmp_path / "out")
    with pytest.raises(ValueError, match="needs the source"):
        score_images(tiny.program, photos, tmp_path / "out")
    foreign = shutil.copytree(tiny.folder, tmp_path / "foreign")
    (foreign / models.FACTS_FILE).unlink()
    with pytest.raises(ValueError, match="a whole export that takes image files"):
        score_images(foreign, photos, tmp_path / "out")
    assert models.FACTS_FILE == FACTS_FILE
