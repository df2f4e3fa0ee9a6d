"""`keras-reprogram score`: what it prints, and what it refuses."""

import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from scored_images import assert_each_once, bad, scores

from keras_reprogram.command_line import main


class Ended(NamedTuple):
    code: object
    out: str
    err: str


@pytest.fixture
def score(capsys):
    def run(*arguments: object) -> Ended:
        with pytest.raises(SystemExit) as end:
            main(["score", *map(str, arguments)])
        return Ended(end.value.code, *capsys.readouterr())

    return run


@pytest.mark.slow
def test_scores_and_says_what_was_bad(score, tiny, photos, tmp_path):
    (photos / "text.png").write_text("no image")
    output = tmp_path / "out"
    ended = score(tiny.folder, photos, "--output", output, "--shard-size", 4)

    assert (ended.code, ended.out) == (2, f"{output}\n")
    assert f"Error: Expected {photos / 'text.png'} to be a readable image." in ended.err
    assert f"1 of 11 images could not be scored: see {output / 'bad'}." in ended.err
    assert "11 images, 11 of them in this run." in ended.err
    assert len(scores(output)) == 10
    assert list(bad(output)) == [str(photos / "text.png")]
    again = score(tiny.folder, photos, "--output", output, "--shard-size", 4, "--quiet")
    assert (again.code, again.out) == (2, f"{output}\n")
    assert again.err.splitlines() == [
        line for line in ended.err.splitlines() if "could not" in line or "Error" in line
    ]


def test_a_program_file_beside_its_source(score, tiny, photos, tmp_path):
    code = tmp_path / "own.py"
    code.write_text(
        "from small_models import frozen_source\n\ndef source():\n    return frozen_source()\n"
    )
    ended = score(
        *(tiny.program, f"{photos}/*/*.png", "--source", f"{code}:source"),
        *("--output", tmp_path / "out"),
    )
    assert ended.code == 0, ended.err
    assert_each_once(tmp_path / "out", [str(file) for file in photos.rglob("*.png")])


def test_ctrl_c_keeps_what_is_finished(score, tiny, photos, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_reprogram.scoring.run._run_here", interrupted)
    ended = score(tiny.folder, photos, "--output", tmp_path / "out")
    assert ended.code == 130
    assert "Finished shards are kept" in ended.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--output", "{file}"], "--output must be a folder"),
        (["--output", "out", "--value-range", "0,1"], "--value-range is not for this source"),
        (["--output", "out", "--opaque"], "--opaque is for --source"),
        (["--output", "out", "--source", "MobilNetV2"], "Did you mean MobileNetV2"),
        (["--output", "out", "--source", "traffic-signs"], "--source is for a .reprogram file"),
        (["--output", "{photos}"], "holds something else. Choose another --output"),
        (["--output", "out", "--shard-size", "0"], "--shard-size"),
        (["--output", "out", "--format", "csv"], "--format"),
        ([], "Missing option '--output'"),
    ],
)
def test_usage_errors(score, tiny, photos, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "file").write_text("mine")
    filled = [one.format(file=tmp_path / "file", photos=photos) for one in options]
    ended = score(tiny.folder, photos, *filled)
    assert ended.code == 2
    assert said in ended.err
    assert "scoring" not in ended.err, "a bar of work that never started"
    assert ended.out == ""
    assert not (tmp_path / "out").exists()


def test_missing_models_and_images(score, tiny, tmp_path):
    output = tmp_path / "out"
    assert "There is no model nowhere" in score("nowhere", ".", "--output", output).err
    assert "no images in" in score(tiny.folder, f"{tmp_path}/*.png", "--output", output).err
    assert not output.exists()


@pytest.mark.parametrize(
    ("package", "options", "extra"),
    [
        ("apache_beam", ["--beam", "--runner=DirectRunner"], "beam"),
        ("pyarrow", ["--format", "parquet"], "parquet"),
    ],
)
def test_a_missing_extra_is_named(
    score, tiny, photos, tmp_path, monkeypatch, package, options, extra
):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "keras_reprogram.scoring.beam", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    ended = score(tiny.folder, photos, "--output", tmp_path / "out", *options)
    assert ended.code == 2
    assert f"pip install 'keras-reprogram[{extra}]'" in ended.err
    assert not Path(tmp_path / "out").exists()
