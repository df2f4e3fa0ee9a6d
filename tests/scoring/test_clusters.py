"""Apache Beam's DirectRunner, killed and started again; Ray and Dask on local clusters."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scored_images import assert_each_once, bad, png, scores, write_images

from keras_reprogram.scoring import score_images

pytestmark = pytest.mark.slow

IMAGES, BEAM_IMAGES = 5000, 3000
DIRECT_RUNNERS = {
    "here": [],
    "one process": ["--beam", "--runner=DirectRunner"],
    "two processes": [
        "--beam",
        "--runner=DirectRunner --direct_running_mode=multi_processing --direct_num_workers=2",
    ],
}


@pytest.fixture(scope="module")
def many_photos(tmp_path_factory):
    """Many images, one of which is none."""
    folder = write_images(tmp_path_factory.mktemp("many"), IMAGES - 1)
    (folder / "0" / "text.png").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def expected(tiny, many_photos, tmp_path_factory):
    """Class and probability of each image, and the name of the bad one."""
    output = tmp_path_factory.mktemp("here") / "out"
    score_images(tiny.folder, many_photos, output)
    return probabilities(output)


def probabilities(output: Path) -> dict[str, float]:
    return {name: row["probability"] for name, row in scores(output).items()}


def start(arguments: list[str]) -> subprocess.Popen:
    """`keras-reprogram score` in a process group of its own."""
    code = "from keras_reprogram.command_line import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "score", *arguments],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_all(process: subprocess.Popen) -> None:
    """Ends a command and its workers as a power cut does."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def wait_for_parts(process: subprocess.Popen, output: Path, count: int) -> None:
    deadline = time.monotonic() + 240
    while len(list(output.glob("scores/part-*"))) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("runner", DIRECT_RUNNERS)
def test_a_killed_command_loses_and_repeats_nothing(tiny, many_photos, expected, tmp_path, runner):
    if runner != "here":
        pytest.importorskip("apache_beam", reason="needs the extra beam")
    names = sorted(map(str, many_photos.rglob("*.png")))[:BEAM_IMAGES]
    listed = tmp_path / "listed"
    for name in names:
        copied = listed / Path(name).relative_to(many_photos)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.hardlink_to(name)
    output = tmp_path / "out"
    arguments = [str(tiny.folder), str(listed), "--output", str(output), "--shard-size", "50"]
    arguments += DIRECT_RUNNERS[runner]
    process = start(arguments)
    wait_for_parts(process, output, 3)
    kill_all(process)
    done = {file: file.stat().st_mtime_ns for file in output.glob("scores/part-*")}
    assert 3 <= len(done) < BEAM_IMAGES // 50

    again = start(arguments)
    said = again.communicate()[1]
    # One of the files is a text.
    assert again.returncode == 2, said
    assert f"{BEAM_IMAGES:,} images, {BEAM_IMAGES - 50 * len(done):,} of them in this run." in said
    assert_each_once(output, sorted(map(str, listed.rglob("*.png"))))
    assert {file: file.stat().st_mtime_ns for file in done} == done
    given = {
        str(many_photos / Path(name).relative_to(listed)): probability
        for name, probability in probabilities(output).items()
    }
    assert given == pytest.approx({name: expected[name] for name in given}, abs=1e-6)


def test_beams_handler_in_a_pipeline_of_ones_own(tiny):
    beam = pytest.importorskip("apache_beam", reason="needs the extra beam")
    from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
    from apache_beam.testing.util import assert_that

    from keras_reprogram.scoring.beam import VersionFolderHandler

    contents = [(str(number), png(number)) for number in range(20)] + [("bad", b"no image")]
    images = np.stack([_pixels(content) for _, content in contents[:-1]])
    wanted = tiny.model.predict(images, verbose=0)

    def check(answers):
        found = {name: answer.inference for name, answer in answers}
        assert len(found) == len(answers) == len(contents)
        assert found["bad"]["class"] is None
        assert "no known kind of image file" in found["bad"]["error"]
        for number, row in enumerate(wanted):
            np.testing.assert_allclose(found[str(number)]["probabilities"], row, atol=1e-6)

    handler = KeyedModelHandler(VersionFolderHandler(tiny.folder, max_batch_size=8))
    with beam.Pipeline() as pipeline:
        assert_that(pipeline | beam.Create(contents) | RunInference(handler), check)


def _pixels(content: bytes) -> np.ndarray:
    import tensorflow as tf

    return tf.io.decode_png(content).numpy().astype("float32")


def test_ray_data(tiny, many_photos, expected):
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    pytest.importorskip("ray.data", reason="needs the extra ray")
    from keras_reprogram.scoring import RayScorer

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        files = ray.data.read_binary_files(
            str(many_photos), include_paths=True, file_extensions=["png"]
        )
        scored = files.map_batches(
            RayScorer, fn_constructor_args=(str(tiny.folder),), batch_size=64, concurrency=1
        )
        rows = scored.take_all()
    finally:
        ray.shutdown()
    assert len(rows) == len({row["path"] for row in rows}) == IMAGES
    (wrong,) = [row for row in rows if row["error"]]
    assert wrong["path"].endswith("text.png")
    assert np.isnan(wrong["probabilities"]).all()
    given = {row["path"]: row["probability"] for row in rows if not row["error"]}
    assert given == pytest.approx(expected, abs=1e-6)


def test_dask_bag(tiny, many_photos, expected):
    pytest.importorskip("dask", reason="needs the extra dask")
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    from dask import bag

    from keras_reprogram.scoring import score_partition

    paths = sorted(map(str, many_photos.rglob("*.png")))
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as one,
        distributed.Client(one),
    ):
        parts = bag.from_sequence(paths, partition_size=500)
        rows = parts.map_partitions(score_partition, str(tiny.folder)).compute()
    assert [row["image"] for row in rows] == paths
    (wrong,) = [row for row in rows if row["error"]]
    assert wrong["image"].endswith("text.png")
    assert wrong["class"] is None
    given = {row["image"]: row["probability"] for row in rows if not row["error"]}
    assert given == pytest.approx(expected, abs=1e-6)


def test_the_bad_image_is_named_with_its_reason(tiny, many_photos, tmp_path):
    score_images(tiny.folder, many_photos / "0", tmp_path / "out")
    ((name, reason),) = bad(tmp_path / "out").items()
    assert name.endswith("text.png")
    assert "no known kind of image file" in reason
