"""One training through a service, as a process of its own that may be killed at any moment."""

import sys

import numpy as np

from keras_reprogram import (
    DenseMap,
    ProgramLayer,
    QueryLedger,
    RandomDirections,
    ReprogrammedModel,
)
from keras_reprogram.datasets import load_target
from keras_reprogram.source.remote import retries
from keras_reprogram.source.remote.tf_serving import TFServingSource

CONCURRENCY, QUERIES = 4, 700

if __name__ == "__main__":
    address, ledger_path, result, budget = sys.argv[1:]
    retries._FIRST_WAIT, retries._LONGEST_WAIT = 0.01, 0.05
    source = TFServingSource(
        address,
        "signs",
        (32, 32, 3),
        [f"label {number}" for number in range(43)],
        value_range=(0, 255),
        identity="signs, version 1",
        ledger=QueryLedger(ledger_path, int(budget)),
        concurrency=CONCURRENCY,
        retries=30,
        signature_name="image_bytes",
        input_format="encoded",
    )
    data = load_target("digits").draw(60, 10, 0)
    program = ProgramLayer(
        (8, 8, 1), (32, 32, 3), source_range=(0, 255), placement="views", num_views=2, grid=3
    )
    model = ReprogrammedModel(program, source, DenseMap(10), RandomDirections(1), seed=5)
    fit = model.fit_opaque(
        data.train_images, data.train_labels, query_budget=QUERIES, choose_views=False, verbose=0
    )
    assert len(fit.stages) > 1, "the budget must reach the steps"
    np.savez(result, *[variable.numpy() for variable in model.trainable_variables])
