"""`fit` under a ledger's budget: a clean end that keeps the best epoch."""

import keras
import numpy as np
import pytest

from keras_reprogram import (
    DenseMap,
    LiteRTSource,
    MultiLabelMap,
    ProgramLayer,
    QueryLedger,
    RandomDirections,
    ReprogrammedModel,
    embedded_path,
)

X = np.random.default_rng(0).uniform(0, 255, (24, 8, 8, 1)).astype(np.float32)
Y = np.arange(24) % 3


def model_under(ledger, output_map=None):
    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    source.ledger = ledger
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=(0, 255), grid=2)
    model = ReprogrammedModel(
        program, source, output_map or DenseMap(3), RandomDirections(1), seed=3
    )
    model.fit_output_map(X, Y, verbose=0)
    model.compile(keras.optimizers.SGD(1.0), loss="sparse_categorical_crossentropy")
    return model


def weights_of(model):
    return [variable.numpy() for variable in model.trainable_variables]


@pytest.mark.slow
def test_the_best_epoch_is_kept_and_nothing_is_over_the_budget(tmp_path):
    """The same training, once as long as it likes and once cut in its fourth epoch."""
    seen = []
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(weights_of(model)))
    with QueryLedger(tmp_path / "all.ledger") as ledger:
        model = model_under(ledger)
        losses = model.fit(
            X, Y, 8, epochs=3, verbose=0, callbacks=[keep], validation_data=(X[:9], Y[:9])
        ).history["val_loss"]
        enough = ledger.spent
    with QueryLedger(tmp_path / "some.ledger", budget=enough + 5) as ledger:
        model = model_under(ledger)
        with pytest.warns(UserWarning, match="budget does not pay .* Training ended; .* of epoch"):
            history = model.fit(X, Y, 8, epochs=9, verbose=0, validation_data=(X[:9], Y[:9]))
        assert ledger.spent <= enough + 5
    assert history.history["val_loss"] == pytest.approx(losses)
    best = seen[int(np.argmin(losses))]
    for now, then in zip(weights_of(model), best, strict=True):
        np.testing.assert_allclose(now, then, rtol=1e-6)


def test_without_validation_the_last_step_stays(tmp_path):
    with QueryLedger(tmp_path / "some.ledger", budget=24 + 60) as ledger:
        model = model_under(ledger)
        before = weights_of(model)
        with pytest.warns(UserWarning, match="those of the last step"):
            model.fit(X, Y, 8, epochs=9, verbose=0)
        assert ledger.spent <= 84
    assert any(np.any(a != b) for a, b in zip(before, weights_of(model), strict=True))


def test_a_bar_shows_rate_and_money(tmp_path, capsys):
    with QueryLedger(tmp_path / "l", price_per_thousand=2.0) as ledger:
        model_under(ledger).fit_output_map(X, Y, verbose=1)
    shown = capsys.readouterr().out
    assert "24/24" in shown and "money_spent: 0.048" in shown and "queries_per_second" in shown


@pytest.mark.slow
def test_a_map_that_follows_the_program_goes_back_too(tmp_path):
    kept = []
    with QueryLedger(tmp_path / "l", budget=24 + 24 * 12) as ledger:
        model = model_under(ledger, MultiLabelMap(3, assignment="bayesian"))
        keep = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: kept.append((logs["val_loss"], map_of(model)))
        )
        with pytest.warns(UserWarning, match="of epoch"):
            model.fit(X, Y, 8, epochs=9, verbose=0, callbacks=[keep], validation_data=(X, Y))
        assert len(kept) > 1
    best = min(kept, key=lambda pair: pair[0])[1]
    for now, then in zip(map_of(model), best, strict=True):
        np.testing.assert_allclose(now, then)


def map_of(model):
    return [variable.numpy() for variable in model.output_map.weights]
