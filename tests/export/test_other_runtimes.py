"""Independent runtimes read the same folder and find the same scores."""

import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(params=["digits", "digits_three_views"])
def export(request):
    return request.getfixturevalue(request.param)


def test_openvino_agrees(export) -> None:
    openvino = pytest.importorskip("openvino", reason="pip install openvino")
    # Else processors with bfloat16 round to it.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(export.exported), "CPU", exact)
    (image,), (scores,) = compiled.inputs, compiled.outputs
    assert (image.any_name, scores.any_name) == ("image", "scores")
    expected = export.model.predict(export.images, verbose=0)
    for size in (1, 200):
        found = compiled({"image": export.images[:size]})["scores"]
        np.testing.assert_allclose(found, expected[:size], atol=1e-5)


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
    expected = export.model.predict(export.images, verbose=0)
    for size in (1, 200):
        (found,) = session.run(["scores"], {"image": export.images[:size]})
        np.testing.assert_allclose(found, expected[:size], atol=1e-5)
