"""One file has one answer: `predict`, an export's `image_bytes`, the server and its page."""

import base64
import json
from pathlib import Path

import httpx
import numpy as np
import pytest
import tensorflow as tf
from command_runs import Command
from odd_files import deep_files, odd_files, picture, saved
from PIL import Image

from keras_reprogram.export import saved_model
from keras_reprogram.serving import ModelServer

CLASSES = ("downwards", "rightwards")


def write_folder(folder: Path, highest: int | None, lowest: int = 0) -> None:
    """Pictures that grow brighter downwards, or to the right: turned, they change their class."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for copy in range(12):
            image = picture(copy)
            image = image if name == "rightwards" else image.transpose(Image.Transpose.TRANSPOSE)
            red = np.asarray(image)[..., 0] / 255
            if highest is None:
                content = saved(Image.fromarray(np.rint(255 * red).astype(np.uint8)), "PNG")
            else:
                levels = np.rint(lowest + (highest - lowest) * red).astype(np.uint16)
                content = saved(Image.fromarray(levels), "PNG")
            (folder / name / f"{copy}.png").write_bytes(content)


def all_answers(command: Command, run: Path, files: dict[str, bytes], place: Path) -> dict:
    """Way -> the scores of the files in their order, one class a column."""
    paths = []
    for number, content in enumerate(files.values()):
        paths.append(place / f"{number}.png")
        paths[-1].write_bytes(content)
    ended = command("predict", run, *paths, "--json", place / "predicted.json", "--quiet")
    assert ended.code == 0, ended.err
    predicted = json.loads((place / "predicted.json").read_text())
    ended = command("export", run, "--format", "saved-model", "--output", place / "model")
    assert ended.code == 0, ended.err
    signature = tf.saved_model.load(str(place / "model" / "1")).signatures["image_bytes"]
    contents = list(files.values())
    with ModelServer(place / "model", page=True) as server:
        rest = httpx.post(
            f"{server.rest_address}/v1/models/model:predict",
            json={
                "signature_name": "image_bytes",
                "instances": [{"b64": base64.b64encode(one).decode()} for one in contents],
            },
            timeout=60,
        ).json()["predictions"]
        pages = [
            httpx.post(
                f"{server.rest_address}/ui/steps",
                content=one,
                headers={"Content-Type": "application/octet-stream"},
                timeout=60,
            ).json()["classes"]
            for one in contents
        ]
    return {
        "predict": [[one["probabilities"][name] for name in CLASSES] for one in predicted],
        "SavedModel": signature(image_bytes=tf.constant(contents))["scores"].numpy(),
        "REST": [row["scores"] for row in rest],
        "page": [[c["score"] for c in sorted(one, key=lambda c: c["index"])] for one in pages],
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("default:.*were stretched")
@pytest.mark.parametrize(
    ("lowest", "highest", "fit"),
    [(0, None, "stretch"), (0, 4095, "stretch"), (0, None, "pad"), (3000, 4095, "crop")],
)
def test_a_file_has_one_answer(
    command: Command,
    tmp_path: Path,
    lowest: int,
    highest: int | None,
    fit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saved_model, "check_reloaded", lambda *arguments: (0.0, 0))
    write_folder(tmp_path / "pictures", highest, lowest)
    ended = command(
        *("train", "--source", "traffic-signs", "--target", tmp_path / "pictures", "--epochs", 0),
        *("--output", tmp_path, "--name", "run", "--target-size", 16, "--no-baseline", "--quiet"),
        *("--fit", fit),
    )
    assert ended.code == 0, ended.err
    files = odd_files()
    if highest is not None:
        files |= {f"deep {name}": file for name, file in deep_files(highest).items()}
        # Eight bits in sixteen are dark where twelve were learned, and said to be so nowhere.
        del files["png 16 bits, 8 used"]
    place = tmp_path / "answers"
    place.mkdir()
    answers = all_answers(command, tmp_path / "run", files, place)
    expected = np.array(answers.pop("predict"))
    for way, found in answers.items():
        for name, one, other in zip(files, expected, np.array(found), strict=True):
            np.testing.assert_allclose(other, one, atol=1e-4, err_msg=f"{way}: {name}")
    by_name = dict(zip(files, expected[:, 1], strict=True))
    # A way that left pictures as they lie would say something else of them.
    # A narrow window makes most of them black or white, and a square leaves little of each.
    for kind in () if lowest else ("jpeg", "png"):
        assert abs(by_name[kind] - by_name[f"{kind} orientation 5"]) > 0.1
    if highest is not None:
        assert lowest or by_name["deep grey"] > 0.9
        # One run later, its folder is read in the same range.
        again = command("evaluate", tmp_path / "run", "--quiet")
        assert again.code == 0, again.err
