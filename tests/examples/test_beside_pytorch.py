"""The scripts that time a white-box step beside PyTorch's, and a folded source beside itself."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_reprogram import FrozenSource
from keras_reprogram.methods import build_method
from keras_reprogram.output_map.label_counts import assign_labels

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"


@pytest.fixture(scope="module")
def parts() -> Iterator[SimpleNamespace]:
    """The benchmark's modules, which are no package; forgotten afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    names = ("rounds", "folding", "beside_pytorch")
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    sys.path.remove(str(FOLDER))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


def test_ways_take_turns_and_warm_up_is_dropped(parts: SimpleNamespace) -> None:
    called: list[str] = []
    rounds_done: list[int] = []

    def way(name: str) -> int:
        called.append(name)
        return len(called)

    ways = {name: lambda name=name: way(name) for name in ("a", "b")}
    found = parts.rounds.in_turns(ways, 2, warm_up=1, done=rounds_done.append)
    assert called == ["b", "a", "a", "b", "b", "a"]
    assert found == {"a": [3, 6], "b": [4, 5]}
    assert rounds_done == [1, 2, 3]


def test_spread_is_of_the_ratios_inside_a_round(parts: SimpleNamespace) -> None:
    found = parts.rounds.ratios([2.0, 30.0, 8.0], [1.0, 10.0, 2.0])
    assert found == [2.0, 3.0, 4.0]
    assert parts.rounds.spread(found) == (3.0, 2.0, 4.0)
    assert parts.rounds.spread_text(found, 1) == "3.0 (2.0 to 4.0)"


def test_folding_times_three_questions_of_one_network(parts: SimpleNamespace) -> None:
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(5, activation="softmax"),
        ]
    )
    norm = network.layers[1]
    norm.moving_variance.assign([0.5, 2.0, 3.0, 4.0])
    source = FrozenSource(network, value_range=(0, 255), preprocessing=(1 / 255, 0))
    measured = parts.folding.measure(source, batch_size=2, rounds=2)
    assert 0 < measured["largest_difference"] < 1e-5
    case = {"size": 8, "batch_size": 2} | json.loads(json.dumps(measured))
    case["seconds"]["forward"] = {"as it is": [3.0, 3.0], "folded": [2.0, 2.0]}
    text = parts.folding.table([case])
    assert "| 8 pixels, forward, batch 2 |" in text
    assert "| 1.50 (1.50 to 1.50) |" in text
    assert "input gradient" in text and "single image" in text


def test_table_compares_with_pytorch_in_the_same_round(parts: SimpleNamespace) -> None:
    def rounds(*seconds: float) -> list[dict[str, float]]:
        return [
            {"seconds": s, "processor_seconds": 2 * s, "peak_megabytes": 1234.0} for s in seconds
        ]

    case = {
        "size": 128, "steps": 2, "batch_size": 32,
        "logits_differ_by": {"ours": 0.0, "PyTorch": 2e-6},
        "ways": {"ours": rounds(1.0, 2.0), "PyTorch": rounds(2.0, 2.0)},
    }  # fmt: skip
    text = parts.beside_pytorch.table([case])
    assert (
        "| 128 pixels, batch 32: ours | 48.0 (32.0 to 64.0) | 1.50 (1.00 to 2.00) "
        "| 1.50 (1.00 to 2.00) | 1,234 MB | 0 |" in text
    )
    assert "| 128 pixels, batch 32: PyTorch | 32.0 (32.0 to 32.0) | 1.00 (1.00 to 1.00) |" in text


@pytest.mark.slow
def test_pytorchs_step_is_ours(parts: SimpleNamespace, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="pip install torch")
    case = parts.beside_pytorch.Case(64, 8, steps=2, alpha=0.35, trained=False)
    parts.beside_pytorch.ours(case, tmp_path)
    for way in ("PyTorch", "PyTorch, channels_last"):
        difference, steps = parts.beside_pytorch.WAYS[way](case, tmp_path)
        assert 0 < difference < parts.beside_pytorch.SAME_LOGITS
        assert steps() > 0


@pytest.mark.slow
def test_pytorch_learns_the_same_program(parts: SimpleNamespace) -> None:
    torch = pytest.importorskip("torch", reason="pip install torch")
    pytorch = importlib.import_module("mobilenet_in_pytorch")
    source = parts.folding.mobilenet_v2(64, 0.35, trained=False)
    case = parts.beside_pytorch.Case(64, 20, steps=1)
    images, labels = case.images()
    shape = (case.image_size, case.image_size, 3)
    method = build_method(
        "ilm_vp_2023", source, shape, 10, image_size=case.image_size, assignment="frequency"
    )
    model = method.model
    model.fit_output_map(images, labels, verbose=0)
    chosen = np.asarray(model.output_map.label_weights).argmax(axis=0)
    weights = {layer.name: layer.get_weights() for layer in source.model.layers if layer.weights}
    step = pytorch.ILMVP(pytorch.MobileNetV2(weights), case.image_size, 64, chosen)
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    theirs = [step.step(pixels, torch.from_numpy(labels))[0].item() for _ in range(2)]
    ours = model.fit(images, labels, epochs=2, batch_size=20, verbose=0).history["loss"]
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    # Adam divides a gradient by its own size, and so blows up what rounding makes of small ones.
    assert ours[1] == pytest.approx(theirs[1], rel=2e-3)
    assert theirs[1] < 0.95 * theirs[0]


def test_frequent_pairs_come_first_as_in_our_map(parts: SimpleNamespace) -> None:
    pytest.importorskip("torch", reason="pip install torch")
    pytorch = importlib.import_module("mobilenet_in_pytorch")
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 200)
    first = (labels * 2 + random.integers(0, 3, 200)) % 9
    scores = np.eye(9, dtype=np.float32)[first]
    expected = assign_labels(
        "frequency", scores=scores, labels=labels, num_classes=4, labels_per_class=1
    )
    found = pytorch.frequent_labels(first, labels, 9, 4)
    np.testing.assert_array_equal(found, np.ravel(expected))
