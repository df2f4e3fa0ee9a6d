"""export_onnx: one `.onnx` file around an ONNX source, on onnxruntime and equal to the model."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx_files import write_onnx

from keras_reprogram import (
    DecoderProgram,
    DenseMap,
    FrozenSource,
    MultiLabelMap,
    NewHead,
    ONNXSource,
    ProgramLayer,
    ReprogrammedModel,
    SampleMaskProgram,
    ScaledProgram,
    export_onnx,
    train_decoder,
)
from keras_reprogram.export import onnx_blockers, onnx_export, read_onnx_facts
from keras_reprogram.export.checks import sample_images

TARGET = (5, 6, 3)
CLASSES = ("red", "green", "blue")


def source_of(folder, *, name="net", kind="probabilities", file=None, **options):
    activation = {"probabilities": "Softmax", "independent": "Sigmoid"}.get(kind, "Identity")
    path = write_onnx(folder / f"{name}.onnx", activation=activation, **(file or {}))
    return ONNXSource(path, **{"value_range": (0, 255), "score_kind": kind} | options)


def program_of(source, num_views=1, **options):
    placement = "views" if num_views > 1 else "center"
    facts = {"source_range": source.value_range, "num_views": num_views, "placement": placement}
    return ProgramLayer(TARGET, source.source_shape, **facts | options)


def trained(source, program=None, output_map=None):
    """A model whose program changes every pixel that it may, and whose map is fitted."""
    program = program or program_of(source)
    model = ReprogrammedModel(
        program, source, output_map or DenseMap(len(CLASSES)), class_names=CLASSES
    )
    random = np.random.default_rng(1)
    for variable in program.trainable_variables:
        variable.assign(random.normal(0, 0.7, variable.shape))
    images, labels = random.uniform(0, 255, (30, *TARGET)), np.arange(30) % len(CLASSES)
    model.fit_output_map(images, labels, verbose=0)
    return model


def run(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (image,), (scores,) = session.get_inputs(), session.get_outputs()
    assert (image.name, scores.name) == ("image", "scores")
    size = image.shape[0] if isinstance(image.shape[0], int) else len(images)
    parts = [images[start : start + size] for start in range(0, len(images), size)]
    return np.concatenate([session.run(None, {"image": part})[0] for part in parts])


@pytest.fixture
def no_process(monkeypatch):
    """Runs the checking script here: a process of its own takes a second each time."""

    def run_here(what, script, file, exchange, **options):
        script.check(script.Path(file), script.Path(exchange))

    monkeypatch.setattr(onnx_export, "run_afresh", run_here)


def check(model, path):
    assert export_onnx(model, path) == path
    images = sample_images(model, 9)
    np.testing.assert_allclose(run(path, images), np.asarray(model(images)), rtol=0, atol=1e-5)


def decoder_program(source):
    images = np.random.default_rng(0).uniform(0, 255, (16, *TARGET))
    decoder = train_decoder(images, latent_size=3, epochs=1, verbose=0)
    return DecoderProgram(TARGET, source.source_shape, decoder, source_range=(0, 255), image_size=5)


PROGRAMS = {
    "add": program_of,
    "subtract": lambda source: program_of(source, operation="subtract", grid=3, masked=False),
    "multiply": lambda source: program_of(source, 3, operation="multiply", per_view=True),
    "sigmoid": lambda source: program_of(source, squash="sigmoid", frame=2, strength=0.6),
    "views": lambda source: program_of(source, 4, target_range=(-2, 300)),
    "low rank": lambda source: program_of(source, rank=2, masked=False),
    "decoder": decoder_program,
    "scaled": lambda source: ScaledProgram(
        TARGET, source.source_shape, source_range=(0, 255), image_size=4, initial_scale=1.3
    ),
}


@pytest.mark.fast_cases(1)
@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name, tmp_path):
    source = source_of(tmp_path)
    check(trained(source, PROGRAMS[name](source)), tmp_path / "whole.onnx")


@pytest.mark.fast_cases(2)
@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("kind", ["probabilities", "independent", "logits", "independent_logits"])
@pytest.mark.parametrize("make", [DenseMap, MultiLabelMap])
@pytest.mark.parametrize("opset", [9, 18])
def test_maps_read_every_kind_of_scores(make, kind, opset, tmp_path):
    source = source_of(tmp_path, kind=kind, file={"opset": opset})
    model = trained(source, program_of(source, 2), make(len(CLASSES)))
    check(model, tmp_path / "whole.onnx")
    assert onnx.load(str(tmp_path / "whole.onnx")).opset_import[0].version == opset


@pytest.mark.usefixtures("no_process")
def test_a_new_head_reads_features(tmp_path):
    source = source_of(tmp_path, kind="features")
    check(trained(source, output_map=NewHead(len(CLASSES))), tmp_path / "whole.onnx")


SOURCES = {
    "channels last": ({"channels_first": False}, {}),
    "uint8": ({"dtype": "uint8"}, {}),
    "int32": ({"dtype": "int32", "opset": 11}, {}),
    "half": ({"dtype": "float16"}, {}),
    "double": ({"dtype": "float64"}, {}),
    "prepared": (
        {"normalises": False},
        {"preprocessing": ((0.004, 0.008, 0.01), (-0.4, -1, 0)), "channel_order": "bgr"},
    ),
    "any size": ({"sides": ("height", "width")}, {"image_size": 8}),
    "names of ours": ({"names": ("scores", "image")}, {}),
    "several outputs": (
        {"extra_outputs": [("label", onnx.TensorProto.INT64)]},
        {"output": "scores"},
    ),
}


@pytest.mark.slow
@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize("name", SOURCES)
def test_sources(name, tmp_path):
    file, options = SOURCES[name]
    source = source_of(tmp_path, file=file, **options)
    check(trained(source, program_of(source, 2)), tmp_path / "whole.onnx")


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize(("batch", "views", "images"), [(1, 1, 1), (4, 2, 2), (3, 3, 1)])
def test_a_fixed_batch_stays_one(batch, views, images, tmp_path):
    source = source_of(tmp_path, file={"batch": batch})
    model = trained(source, program_of(source, views))
    path = export_onnx(model, tmp_path / "whole.onnx")
    rows = sample_images(model, 4 * images)
    np.testing.assert_allclose(run(path, rows), np.asarray(model(rows)), rtol=0, atol=1e-5)
    session = onnxruntime.InferenceSession(str(path))
    assert session.get_inputs()[0].shape == [images, *TARGET]


@pytest.mark.usefixtures("no_process")
def test_an_export_is_a_source_again(tmp_path):
    source = source_of(tmp_path)
    path = export_onnx(trained(source), tmp_path / "whole.onnx")
    again = ONNXSource(path, value_range=(0, 255), image_size=None)
    assert again.source_shape == TARGET and again.num_labels == len(CLASSES)
    check(trained(again, program_of(again, 2)), tmp_path / "twice.onnx")


def test_a_fresh_process_checks_and_the_file_says_what_it_is(tmp_path):
    source = source_of(tmp_path, class_names=list("abcdef"))
    path = tmp_path / "whole.onnx"
    options = {"save_as_external_data": True, "size_threshold": 64, "location": "net.data"}
    onnx.save_model(onnx.load(str(source.model_path)), str(source.model_path), **options)
    source = ONNXSource(source.model_path, value_range=(0, 255), class_names=list("abcdef"))
    model = trained(source)
    export_onnx(model, path, metrics={"accuracy": np.float32(0.5)})
    (tmp_path / "net.data").unlink()
    images = sample_images(model, 9)
    assert run(path, images).shape == (9, len(CLASSES)), "the weights are in the file"
    facts = read_onnx_facts(path)
    assert facts["class_names"] == list(CLASSES) and facts["metrics"] == {"accuracy": 0.5}
    assert facts["source"]["fingerprint"] == source.fingerprint
    assert (facts["target_shape"], facts["num_views"]) == (list(TARGET), 1)
    stored = onnxruntime.InferenceSession(str(path)).get_modelmeta().custom_metadata_map
    assert stored["labels.txt"] == "red\ngreen\nblue\n"
    assert json.loads(stored["keras_reprogram.json"]) == facts
    with pytest.raises(ValueError, match="a file that `export_onnx` wrote. Received: .*net.onnx"):
        read_onnx_facts(source.model_path)


def test_an_equivalent_source_stands_for_the_models(tmp_path):
    first = source_of(tmp_path)
    second = source_of(tmp_path, name="second", file={"channels_first": False})
    other = source_of(tmp_path, name="other", file={"seed": 3})
    model = trained(first)
    with pytest.raises(ValueError, match="is not equivalent to the model's source"):
        export_onnx(model, tmp_path / "whole.onnx", source=other)
    export_onnx(model, tmp_path / "whole.onnx", source=second)
    assert read_onnx_facts(tmp_path / "whole.onnx")["embedded_twin"]["fingerprint"] != (
        first.fingerprint
    )


def test_what_cannot_be_exported_is_listed_before_anything_is_written(tmp_path):
    source = source_of(tmp_path, file={"batch": 3})
    program = SampleMaskProgram(TARGET, source.source_shape, source_range=(0, 255))
    model = ReprogrammedModel(program, source, MultiLabelMap(3))
    path = tmp_path / "folder" / "whole.onnx"
    with pytest.raises(ValueError, match="nothing was written") as raised:
        export_onnx(model, path)
    assert "map was never fitted" in str(raised.value)
    assert "The program is a SampleMaskProgram" in str(raised.value)
    assert len(onnx_blockers(model)) == 2
    two = trained(source, program_of(source, 2))
    assert any("answers 3 image(s) at a time" in each for each in onnx_blockers(two))
    old = source_of(tmp_path, name="old", file={"opset": 7})
    assert any("of opset 7; 8 is needed" in each for each in onnx_blockers(trained(old)))
    other_range = source_of(tmp_path, name="range", value_range=(0, 200))
    blockers = onnx_blockers(trained(source), other_range)
    assert any("differs from the model's source in `value_range`" in each for each in blockers)
    assert not path.parent.exists()


def test_a_keras_source_has_a_way_of_its_own(tmp_path):
    from checks.tiny_models import tiny_classifier

    source = FrozenSource(tiny_classifier(), value_range=(0, 255))
    (blocker,) = onnx_blockers(trained(source))
    assert 'model.export(PATH, format="onnx")' in blocker


def test_a_program_of_ones_own_that_says_too_little_is_noticed(tmp_path):
    class Brighter(ProgramLayer):
        def call(self, images):
            return super().call(images + 40)

    source = source_of(tmp_path)
    program = Brighter(TARGET, source.source_shape, source_range=(0, 255))
    with pytest.raises(ValueError, match="The ONNX file does not agree with the model: scores"):
        export_onnx(trained(source, program), tmp_path / "whole.onnx")
    assert not (tmp_path / "whole.onnx").exists()


def test_names_of_files(tmp_path):
    model = trained(source_of(tmp_path))
    with pytest.raises(ValueError, match=r"must end in `\.onnx`. Received: whole\.tflite"):
        export_onnx(model, tmp_path / "whole.tflite")
    (tmp_path / "whole.onnx").write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export_onnx(model, tmp_path / "whole.onnx")
    assert (tmp_path / "whole.onnx").read_text() == "mine"
    assert {file.name for file in tmp_path.iterdir()} == {"net.onnx", "whole.onnx"}


@pytest.mark.usefixtures("no_process")
def test_prediction_sets_that_stay_behind_are_said(tmp_path):
    model = trained(source_of(tmp_path))
    images, labels = sample_images(model, 60), np.arange(60) % len(CLASSES)
    model.calibrate(images, labels, coverage=0.8, verbose=0)
    with pytest.warns(UserWarning, match="without its calibrated prediction sets"):
        export_onnx(model, tmp_path / "whole.onnx")
    assert "calibration" not in read_onnx_facts(tmp_path / "whole.onnx")
    np.testing.assert_allclose(
        run(tmp_path / "whole.onnx", images), np.asarray(model(images)), rtol=0, atol=1e-5
    )
