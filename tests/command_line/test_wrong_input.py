"""What a user can get wrong: exit code 2, a message that helps, no traceback, nothing left."""

from pathlib import Path

import numpy as np
import pytest
from command_runs import Command, TrainedRun

from keras_reprogram import embedded_path

TRAIN = ("train", "--source", "traffic-signs", "--opaque", "--target", "digits")
FEW = ("--train-images", 40, "--test-images", 20)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "--target", "digits"), "Missing option '--source'"),
        (("fly",), "No such command 'fly'"),
        ((*TRAIN, "--num-views", 0), "--num-views"),
        ((*TRAIN, "--output-map", "sparse"), "'--output-map': 'sparse' is not one of 'dense',"),
        (("export", "a", "--for", "browsr"), "'--for': 'browsr' is not one of 'litert',"),
        ((*TRAIN, "--image-size", 20), "--image-size is for --placement center"),
        ((*TRAIN, "--labels-per-class", 2), "--labels-per-class is for"),
        (
            (*TRAIN, "--output-map", "bayesian", "--labels-per-class", 2),
            "--output-map frequency, iterative, random",
        ),
        (
            (*TRAIN, "--placement", "full", "--num-views", 2),
            "--placement views or gentle-views only",
        ),
        ((*TRAIN, "--value-range", "1"), "Write 0,255 or 0,1 or -1,1"),
        ((*TRAIN, "--name", "../up"), "the name of a folder"),
        ((*TRAIN, "--json", "no/such/folder/a.json"), "--json must be a file"),
        ((*TRAIN, *FEW, "--output-map", "new-head"), "returns scores only"),
        ((*TRAIN, "--train-images", 5000), "Cannot draw 5000 training images"),
        (
            (*TRAIN, *FEW, "--output-map", "frequency", "--labels-per-class", 5),
            "Pass `labels_per_class=4` (--labels-per-class 4)",
        ),
        (("train", "--source", "MobilNetV2", "--target", "digits"), "Did you mean MobileNetV2"),
        (("train", "--source", "no/file.keras", "--target", "digits"), "no such file or folder"),
        (
            ("train", "--source", "MobileNet:weights=none,depth=7", "--target", "digits"),
            "cannot be built",
        ),
        (("train", "--source", "MobileNet:alpha", "--target", "digits"), "name=value"),
        (("train", "--source", "traffic-signs", "--target", "./nowhere"), "no such folder"),
        ((*TRAIN, "--value-range", "0,1"), "--value-range is not for this source: traffic-signs"),
        ((*TRAIN, "--scores", "logits"), "--scores is not for this source"),
        (
            ("inspect", "MobileNetV2:weights=none", "--value-range", "-1,1"),
            "takes pixels from 0 to 255",
        ),
        ((*TRAIN, "--source-size", "24x24"), "Write 224 or 224,320"),
        ((*TRAIN, "--sum-tolerance", "-1"), "none for no check"),
        (("inspect", "MobileNetv2"), "Did you mean MobileNetV2?"),
        (("inspect", "net.onnx"), "no such file or folder"),
        (("evaluate", "nowhere"), "There is no run folder nowhere"),
        (("inspect", "nowhere.reprogram"), "There is no program file"),
        (("export", "nowhere"), "There is no run folder nowhere"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_message(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    ended = command(*arguments)

    assert ended.code == 2
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.keras", b"no model"), ("a.tflite", b"no model"), ("folder", None)],
)
def test_broken_source_files(
    command: Command, tmp_path: Path, name: str, content: bytes | None
) -> None:
    path = tmp_path / name
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    ended = command("inspect", path)

    assert ended.code == 2
    assert str(path) in ended.err
    assert "Traceback" not in ended.err


def test_source_that_is_another_range_than_said(command: Command, tmp_path: Path) -> None:
    ended = command(
        *("train", "--source", embedded_path("traffic_signs.keras"), "--target", "digits"),
        *("--value-range", "5,5", "--output", tmp_path / "runs"),
    )

    assert ended.code == 2
    assert "'5,5'" in ended.err


def test_folder_without_a_run(command: Command, tmp_path: Path) -> None:
    ended = command("predict", tmp_path, tmp_path)

    assert ended.code == 2
    assert "is not a run folder" in ended.err


def test_run_of_another_format(command: Command, opaque_run: TrainedRun, tmp_path: Path) -> None:
    (tmp_path / "program.reprogram").touch()
    facts = tmp_path / "run.json"
    facts.write_text('{"format": 99}')
    assert "format 1" in command("evaluate", tmp_path).err
    facts.write_text("{")
    assert "is corrupt" in command("evaluate", tmp_path).err
    facts.write_bytes((opaque_run.folder / "run.json").read_bytes())
    ended = command("evaluate", tmp_path)
    assert ended.code == 2
    assert "is not a program file" in ended.err


@pytest.mark.parametrize("name", ["missing.png", "empty", "text.png"])
def test_images_that_are_none(
    command: Command, opaque_run: TrainedRun, tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no image")
    ended = command("predict", opaque_run.folder, tmp_path / name)

    assert ended.code == 2
    assert str(tmp_path / name) in ended.err
    assert "Traceback" not in ended.err


def test_dicom_files_without_an_image_are_named(
    command: Command, opaque_run: TrainedRun, tmp_path: Path
) -> None:
    pytest.importorskip("pydicom")
    (tmp_path / "scan.dcm").write_bytes(bytes(128) + b"DICM" + bytes(400))
    for place in (tmp_path, tmp_path / "scan.dcm"):
        ended = command("predict", opaque_run.folder, place)
        assert ended.code == 2
        assert "scan.dcm" in ended.err
        assert "a DICOM file without an image" in " ".join(ended.err.split())


def test_overwrite_leaves_a_foreign_folder_alone(command: Command, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    ended = command(*TRAIN, "--output", tmp_path, "--name", "precious", "--overwrite")

    assert ended.code == 2
    assert "is not a run folder" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years of work"


@pytest.mark.usefixtures("no_report")
def test_full_disk(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is there to keep; `test_train_command.py` has a report that finds no room."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device", "program.reprogram")

    monkeypatch.setattr("keras_reprogram.command_line.training_run.save_program", refuse)
    ended = command(*TRAIN, *FEW, "--no-baseline", "--output", tmp_path / "runs")

    assert ended.code == 2
    assert ended.err.endswith("Error: No space left on device: program.reprogram.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("net.onnx", "is not an ONNX model that onnxruntime runs"),
        ("NET.ONNX", "is not an ONNX model that onnxruntime runs"),
        ("frozen.pb", "Pass the SavedModel folder around it"),
        ("net.pt", "Write it as .onnx"),
        ("net.zip", "Unpack it"),
        ("net.bin", "a file of another kind"),
        ("service.py", "{path}:NAME"),
        ("net.KERAS", "is not a Keras model that Keras"),
        ("net.weights.h5", "only weights"),
        ("net.hdf5", "is not a Keras model that Keras"),
        ("net.TFLITE", "is not a readable LiteRT"),
    ],
)
def test_files_of_other_kinds_are_files_and_have_a_way_out(
    command: Command, tmp_path: Path, name: str, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"something else")
    ended = command("inspect", path, "--value-range", "0,255")

    assert ended.code == 2
    assert said.format(path=path) in ended.err
    assert "no such file" not in ended.err.lower()


def test_what_keras_says_of_a_file_is_cut(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, **options: object) -> None:
        raise TypeError("Could not deserialize class 'Functional'. " + 60_000 * "x")

    monkeypatch.setattr("keras.saving.load_model", fail)
    (tmp_path / "old.h5").touch()
    ended = command("inspect", tmp_path / "old.h5", "--value-range", "0,255")

    assert ended.code == 2
    assert len(ended.err) < 1000
    assert "Could not deserialize class 'Functional'." in ended.err
    assert "A model of Keras 2: load it with `tf_keras`" in ended.err


@pytest.mark.parametrize("ending", ["keras", "tflite"])
def test_a_file_of_floats_needs_its_range(command: Command, tmp_path: Path, ending: str) -> None:
    ended = command(
        *("train", "--source", embedded_path(f"traffic_signs.{ending}"), "--target", "digits"),
        *("--output", tmp_path / "runs"),
    )

    assert ended.code == 2
    assert "--value-range 0,255 or 0,1 or -1,1" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_output_that_is_a_file(command: Command, opaque_run: TrainedRun, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for arguments in (
        (*TRAIN, "--output", file),
        (*TRAIN, "--output", file / "runs"),
        ("export", opaque_run.folder, "--output", file),
        ("demo", "--output", file),
    ):
        ended = command(*arguments)
        assert ended.code == 2
        assert f"--output must be a folder. Received: {file}" in ended.err
    assert file.read_text() == "mine"
    assert f"Received: {file}, a file" in command("evaluate", file).err


def test_targets_have_their_spelling_mended() -> None:
    from keras_reprogram.datasets.load_target import _unknown

    assert _unknown("digit", "no").endswith("Did you mean digits?")
    assert _unknown("Fashion-MNIST", "no").endswith("Did you mean fashion_mnist?")
    assert _unknown("galaxies", "no").endswith("'galaxies'; no.")


def test_source_that_answers_nonsense(command: Command, tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(4, activation="softmax"))
    model.layers[-1].bias.assign(np.full(4, np.nan))
    path = tmp_path / "nan.keras"
    model.save(path)
    ended = command(
        *("train", "--source", path, "--value-range", "0,255", "--target", "digits"),
        *("--output", tmp_path / "runs"),
    )

    assert ended.code == 2
    assert "NaN" in ended.err


def test_what_a_source_refuses_is_told_without_a_traceback(command: Command, tmp_path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "from keras_reprogram import OpaqueSource, QueryLedger\n"
        "def scores(images):\n"
        "    return np.full((len(images), 12), 1 / 12)\n"
        "def source():\n"
        f"    ledger = QueryLedger({str(tmp_path / 'spent.ledger')!r}, budget=3)\n"
        "    return OpaqueSource(\n"
        "        scores, (8, 8, 3), 12, value_range=(0, 255), identity='a', ledger=ledger\n"
        "    )\n"
    )
    own = ("--source", f"{tmp_path / 'mine.py'}:source")
    ended = command("train", *own, "--target", "digits", *FEW, "--output", tmp_path / "runs")
    assert ended.code == 2
    assert "Error: The budget does not pay for" in ended.err
    assert "raise the budget" in ended.err
    assert "Traceback" not in ended.err
