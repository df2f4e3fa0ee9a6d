"""Files that PyTorch's own exporters write, beside PyTorch's scores."""

import numpy as np
import pytest
from checks.check_source import scores_of
from checks.tiny_models import random_images

from keras_reprogram import ONNXSource

torch = pytest.importorskip("torch", reason="pip install torch onnxscript")

pytestmark = [
    pytest.mark.slow,
    # Files of the older exporter are around, and it still writes them.
    pytest.mark.filterwarnings("ignore:You are using the legacy:DeprecationWarning"),
]

SHAPE, NUM_LABELS = (32, 32, 3), 7
# ImageNet's, as torchvision's transforms have them.
MEAN, DEVIATION = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
PREPROCESSING = (1 / (255 * DEVIATION), -MEAN / DEVIATION)


class Classifier(torch.nn.Module):
    """Convolutions with statistics of their own, and a few thousand weights."""

    def __init__(self, normalised):
        super().__init__()
        torch.manual_seed(0)
        layers = []
        for inside, outside in ((3, 8), (8, 16)):
            norm = torch.nn.BatchNorm2d(outside)
            norm.running_mean.uniform_(-0.5, 0.5)
            norm.running_var.uniform_(0.5, 2)
            layers += [torch.nn.Conv2d(inside, outside, 3, 2, 1), norm, torch.nn.SiLU()]
        self.layers = torch.nn.Sequential(*layers)
        self.head = torch.nn.Linear(16 * 8 * 8, NUM_LABELS)
        # As sure as trained networks are: answers that hardly move are warned of.
        torch.nn.init.normal_(self.head.weight, std=0.3)
        self.normalised = normalised
        self.eval()

    def forward(self, image):
        logits = self.head(self.layers(image).flatten(1))
        return logits.softmax(1) if self.normalised else logits


def own_scores(network, images):
    pixels = (images / np.float32(255) - MEAN) / DEVIATION
    with torch.no_grad():
        return network(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())).numpy()


@pytest.mark.parametrize("batch", ["any", 1, 4])
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_what_torch_exports(exporter, batch, tmp_path):
    network, path = Classifier(normalised=True), tmp_path / "network.onnx"
    example = torch.zeros(2 if batch == "any" else batch, SHAPE[2], *SHAPE[:2])
    options = {"input_names": ["image"], "output_names": ["scores"]}
    if exporter == "dynamo":
        pytest.importorskip("onnxscript", reason="pip install onnxscript")
        shapes = {"image": {0: torch.export.Dim("n")}} if batch == "any" else None
        torch.onnx.export(network, (example,), path, dynamic_shapes=shapes, **options)
    else:
        axes = {"image": {0: "n"}, "scores": {0: "n"}} if batch == "any" else None
        torch.onnx.export(
            network, (example,), str(path), dynamo=False, dynamic_axes=axes, **options
        )
    source = ONNXSource(path, value_range=(0, 255), preprocessing=PREPROCESSING)
    assert source.source_shape == SHAPE
    assert source.network_input.channels_first
    assert source.images_a_call == (None if batch == "any" else batch)
    images = random_images(50, SHAPE)
    expected = own_scores(network, images)
    assert np.ptp(expected, axis=0).max() > 0.01
    np.testing.assert_allclose(scores_of(source, images), expected, rtol=0, atol=1e-6)


def test_logits_are_said(tmp_path):
    network, path = Classifier(normalised=False), tmp_path / "logits.onnx"
    torch.onnx.export(network, (torch.zeros(1, 3, 32, 32),), str(path), dynamo=False)
    with pytest.raises(ValueError, match="--scores logits"):
        ONNXSource(path, value_range=(0, 255), preprocessing=PREPROCESSING)
    source = ONNXSource(
        path, value_range=(0, 255), preprocessing=PREPROCESSING, score_kind="logits"
    )
    images = random_images(50, SHAPE)
    expected = own_scores(network, images)
    atol = 1e-6 * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(scores_of(source, images), expected, rtol=0, atol=atol)
