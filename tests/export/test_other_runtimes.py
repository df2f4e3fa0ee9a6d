"""Independent runtimes read the same folder and find the same scores."""

import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(params=["digits", "digits_one_view"])
def export(request):
    return request.getfixturevalue(request.param)


def compiled_by(openvino, path):
    # Else processors with bfloat16 round to it.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(str(path), "CPU", exact)


def check_scores(export, ask):
    expected = export.model.predict(export.images, batch_size=200, verbose=0)
    for size in (1, 200):
        np.testing.assert_allclose(ask(export.images[:size]), expected[:size], atol=1e-5)


def test_openvino_agrees(export) -> None:
    openvino = pytest.importorskip("openvino", reason="pip install openvino")
    compiled = compiled_by(openvino, export.exported)
    (image,), (scores,) = compiled.inputs, compiled.outputs
    assert (image.any_name, scores.any_name) == ("image", "scores")
    check_scores(export, lambda images: compiled({"image": images})["scores"])


def test_onnxruntime_agrees(export, tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    pytest.importorskip("tf2onnx", reason="pip install tf2onnx")
    file = tmp_path / "digits.onnx"
    options = ["--saved-model", str(export.exported), "--output", str(file), "--opset", "17"]
    options += ["--signature_def", "serving_default", "--tag", "serve"]
    run = subprocess.run(
        [sys.executable, "-m", "tf2onnx.convert", *options], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    check_scores(export, lambda images: session.run(["scores"], {"image": images})[0])


def test_kerass_own_onnx_agrees(export, tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    pytest.importorskip("tf2onnx", reason="pip install tf2onnx onnx")
    file = tmp_path / "digits.onnx"
    export.model.export(str(file), format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    check_scores(export, lambda images: session.run(None, {"image": images})[0])


def test_kerass_own_openvino_agrees(export, tmp_path) -> None:
    openvino = pytest.importorskip("openvino", reason="pip install openvino")
    file = tmp_path / "digits.xml"
    export.model.export(str(file), format="openvino", verbose=False)
    compiled = compiled_by(openvino, file)
    check_scores(export, lambda images: compiled({"image": images})[0])
