"""The few-image benchmark's own code, run on a few digits."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from keras_reprogram import OpaqueSource

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"
NAMES = ("few_images", "few_images_data", "few_images_methods", "remembered_answers", "sources")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules, digits instead of photographs, traffic signs instead of MobileNet."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    modules = SimpleNamespace(**{name: __import__(name) for name in NAMES})
    small = modules.sources.source_choices(None)["traffic_signs"]
    for module in (modules.few_images, modules.few_images_methods, modules.remembered_answers):
        monkeypatch.setattr(module, "sources", lambda: {small.name: small})
    load = modules.few_images_data.load_target
    monkeypatch.setattr(modules.few_images_data, "load_target", lambda name: load("digits"))
    monkeypatch.setattr(modules.few_images_data, "MOST_TEST_IMAGES", 30)
    yield modules
    sys.path.remove(str(FOLDER))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


def test_the_smaller_draws_are_part_of_the_larger_ones(parts: SimpleNamespace) -> None:
    data = parts.few_images_data
    small, large = (data.Few(None, "cifar10", size, 0) for size in (10, 200))
    assert np.bincount(small.data.train_labels).tolist() == [10] * 10
    rows = {image.tobytes() for image in large.data.train_images}
    assert all(image.tobytes() in rows for image in small.data.train_images)
    assert small.note == ""
    # Digits has some 120 training images of each class.
    assert large.note.startswith("all there are of 0 ")
    other = data.Few(None, "cifar10", 10, 1).data
    assert not np.array_equal(small.data.train_images, other.train_images)


def test_an_image_is_asked_once_and_counted_each_time(parts: SimpleNamespace) -> None:
    calls: list[int] = []

    def ask(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        share = images.mean(axis=(1, 2, 3)) / 255
        return np.stack([share, 1 - share], axis=1)

    source = OpaqueSource(ask, (4, 4, 3), 2, value_range=(0, 255), identity="brightness")
    remembered = parts.remembered_answers.Remembered(source)
    images = np.arange(5 * 48, dtype=np.float32).reshape(5, 4, 4, 3)
    for rows in ([0, 1, 2], [2, 3, 0], [3, 1]):
        box = remembered.opaque()
        np.testing.assert_allclose(box(images[rows]), ask(images[rows]), rtol=1e-6)
        assert box.queries_used == len(rows)
    assert calls == [3, 3, 1, 3, 2]


@pytest.mark.slow
def test_runs_become_rows_and_a_table(parts: SimpleNamespace, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(parts.few_images.main)
    path = tmp_path / "rows.csv"

    def run(*arguments: Any) -> Any:
        small = ("--source", "traffic_signs", "--targets", "cifar10", "--sizes", "10")
        small += ("--seeds", "0", "--csv", str(path))
        return CliRunner().invoke(app, [str(a) for a in (*small, *arguments)])

    result = run("--methods", "no_source,ours_full,linear_head")
    assert result.exit_code == 0, result.output
    before = path.read_text()
    assert before.count("\n") == 4
    assert ",10 a class,100,30,1,100,," in before
    again = run("--methods", "no_source,ours_full")
    assert again.exit_code == 0
    assert path.read_text() == before
    assert "| traffic_signs | cifar10 | 10 | ." in run("--table").stdout
    assert "Expected no_source, scratch" in run("--methods", "none").output.replace("\n", " ")
