"""`--beside`: parts that the map reads beside the source, in training and in what follows it."""

import json
from pathlib import Path

import pytest
from command_runs import Command

from keras_reprogram.command_line import beside
from keras_reprogram.command_line.beside import check_beside, parts_of

TRAIN = ("train", "--source", "traffic-signs", "--opaque", "--target", "digits")


def test_options_of_an_application_are_no_parts():
    text = "pixels, MobileNet:alpha=0.25,input_shape=128 ,net.py:make"
    assert parts_of(text) == ("pixels", "MobileNet:alpha=0.25,input_shape=128", "net.py:make")


@pytest.mark.slow
@pytest.mark.usefixtures("no_report")
def test_a_run_is_trained_measured_and_exported_with_its_parts(
    command: Command, tmp_path: Path, monkeypatch
) -> None:
    arguments = ("--train-images", 60, "--test-images", 40, "--no-baseline", "--output", tmp_path)
    ended = command(*TRAIN, "--beside", "pixels,traffic-signs", *arguments)
    assert ended.code == 0, ended.err
    folder = tmp_path / "digits-traffic-signs"
    figures = json.loads((folder / "run.json").read_text())
    assert figures["options"]["beside"] == "pixels,traffic-signs"
    # The source's own queries; what is beside it costs nothing.
    assert figures["results"][0]["training_queries"] == 60
    ended = command("evaluate", folder)
    assert ended.code == 0, ended.err
    accuracy = f"{figures['results'][0]['accuracies'][0]:.3f}"
    assert accuracy in ended.out
    for module in ("halves", "saved_model"):
        checked = f"keras_reprogram.export.{module}.check_reloaded"
        monkeypatch.setattr(checked, lambda *arguments: (0.0, 0))
    twin = ("--source", "traffic-signs", "--format", "both")
    for how in (twin, ("--format", "halves")):
        ended = command("export", folder, "--output", tmp_path / how[-1] / "digits", *how)
        assert ended.code == 0, ended.err
        assert all(Path(line).exists() for line in ended.out.splitlines())


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ("pixel", "--beside takes pixels and networks.*'pixel', which is neither"),
        ("pixels,", "'', which is neither"),
        ("pixels,MobileNetV2000", "'MobileNetV2000'.*Did you mean MobileNetV2"),
        ("pixels,pixels", "each part once"),
        ("other.tflite", "Only --source may run as Python code or cost queries"),
    ],
)
def test_wrong_parts_are_named_before_anything_is_loaded(parts, said):
    with pytest.raises(ValueError, match=said):
        check_beside(parts)


def test_a_second_opaque_part_is_refused(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "api.py").write_text(
        "from keras_reprogram import LiteRTSource, embedded_path\n"
        "source = lambda: LiteRTSource(embedded_path('traffic_signs.tflite'), "
        "value_range=(0, 255))\n"
    )
    with pytest.raises(ValueError, match="Only --source may run"):
        beside.with_beside(None, f"{tmp_path}/api.py:source", (8, 8, 1), (0.0, 255.0))


def test_another_map_is_refused_with_parts(command: Command) -> None:
    ended = command(*TRAIN, "--beside", "pixels", "--output-map", "frequency")
    assert ended.code == 2
    assert "--beside needs a map that reads several parts, --output-map dense" in ended.err


def test_an_estimate_is_that_of_the_source_alone(command: Command) -> None:
    few = ("--train-images", 60, "--test-images", 40)
    plain, joint = (
        command("estimate", *TRAIN[1:], *few, *more) for more in ((), ("--beside", "pixels"))
    )
    assert joint.code == 0, joint.err
    assert joint.out == plain.out
