"""Two ways to join a source with the pixels, on few digits: which one the exact map uses, and why.

    python examples/benchmark/joint_digits.py   # scikit-learn's digits, the embedded source
    python examples/benchmark/joint_digits.py --training-part --views 2 --sizes 100 --draws 8

The second line is what the size of `keras-reprogram demo` was checked by: each draw is judged on
the other images of the training part, and the 540 test images are left alone. The last
column is left out there.

Each image is asked once under all views; every draw of training images reads the same answers.
`joint` is what `DenseMap` does: each part's own exact map, and weights of the parts from the
validation part (`fit_joined_parts`). `one map` is one exact map over both parts' columns, whose
share of the squared norm is chosen there, as a regularisation for each part would be.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer

from keras_reprogram import (
    DenseMap,
    LiteRTSource,
    PixelSource,
    ProgramLayer,
    ReprogrammedModel,
    embedded_path,
    join_sources,
)
from keras_reprogram.baselines import fit_no_source
from keras_reprogram.datasets import load_target
from keras_reprogram.fitting import fit_joined_parts, fit_logistic_regression
from keras_reprogram.fitting.validation import draw_stratified

NUM_CLASSES = 10
# The source's share of the squared norm of the columns.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
COLUMNS = ("source", "pixels", "no source", "joint")
ONE_MAP = "one map"


def main(
    sizes: Annotated[str, typer.Option(help="Training images, by commas.")] = "50,100,300",
    views: Annotated[str, typer.Option(help="Views of each image, by commas.")] = "8",
    draws: Annotated[int, typer.Option(min=1, help="Draws of each size.")] = 5,
    training_part: Annotated[
        bool, typer.Option("--training-part", help="Leave the fixed test images out.")
    ] = False,
) -> None:
    """Prints accuracy on the images outside the draw, mean and standard deviation over draws."""
    columns = COLUMNS if training_part else (*COLUMNS, ONE_MAP)
    print(f"| views | images | {' | '.join(columns)} |")
    print(f"| ---: | ---: |{' ---: |' * len(columns)}")
    for num_views in map(int, views.split(",")):
        asked = _asked(num_views, training_part)
        for size in map(int, sizes.split(",")):
            figures = np.array(
                [
                    _accuracies(*asked, size, seed, one_map=not training_part)
                    for seed in range(draws)
                ]
            )
            means, spreads = figures.mean(0), figures.std(0)
            cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(means, spreads, strict=True)]
            print(f"| {num_views} | {size} | {' | '.join(cells)} |", flush=True)


def _asked(
    num_views: int, training_part: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, DenseMap]:
    """Answers `(n, 1, A)` to the digits, the digits, and the map that reads them."""
    data = load_target("digits")
    images, labels = data.train_images, data.train_labels
    if not training_part:
        images = np.concatenate([images, data.test_images])
        labels = np.concatenate([labels, data.test_labels])
    asked = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    pixels = PixelSource(data.target_shape, target_range=data.target_range)
    source = join_sources([asked, pixels])
    program = ProgramLayer(
        data.target_shape,
        source.source_shape,
        source_range=source.value_range,
        target_range=data.target_range,
        placement="views",
        num_views=num_views,
    )
    model = ReprogrammedModel(program, source, DenseMap(NUM_CLASSES))
    return model.collect_scores(images, verbose=0), images, labels, model.output_map


def _accuracies(
    answers: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    output_map: DenseMap,
    size: int,
    seed: int,
    *,
    one_map: bool,
) -> list[float]:
    """Accuracy of each column on the images outside the draw."""
    train = draw_stratified(labels, size, seed)
    test = np.setdiff1d(np.arange(len(labels)), train)
    output_map.adapt(answers[train])
    rows = np.asarray(output_map.features(answers))
    parts, how = output_map.parts, {"num_classes": NUM_CLASSES, "seed": seed}
    width, y = parts[0], labels[train]

    def reached(kernel: np.ndarray, bias: np.ndarray, columns: slice = slice(None)) -> float:
        return float(np.mean((rows[test, columns] @ kernel + bias).argmax(1) == labels[test]))

    own, others = slice(0, width), slice(width, None)
    source = fit_logistic_regression(rows[train, own], y, **how)
    pixels = fit_joined_parts(rows[train, others], y, parts=parts[1:], **how)
    joint = fit_joined_parts(rows[train], y, parts=parts, **how)
    alone = fit_no_source(images[train], y, **how)
    return [
        reached(source.kernel, source.bias, own),
        reached(pixels.kernel, pixels.bias, others),
        alone.evaluate(images[test], labels[test]),
        reached(joint.kernel, joint.bias),
        *([reached(*_one_map(rows[train], y, width, how))] if one_map else []),
    ]


def _one_map(
    rows: np.ndarray, labels: np.ndarray, width: int, how: dict
) -> tuple[np.ndarray, np.ndarray]:
    """One map over the columns of both parts, at the share that is best on validation."""
    both = np.split(rows, [width], axis=1)
    norms = np.sqrt([np.square(part).sum(axis=1).mean() for part in both])
    found = []
    for share in SHARES:
        factors = np.sqrt([share, 1 - share]) / norms
        scale = np.repeat(factors, [width, rows.shape[1] - width])
        fit = fit_logistic_regression(rows * scale, labels, **how)
        loss = fit.held_out.losses.mean()
        found.append((loss, fit.kernel * scale[:, None], fit.bias))
    return min(found, key=lambda trial: trial[0])[1:]


if __name__ == "__main__":
    sys.exit(typer.run(main))
