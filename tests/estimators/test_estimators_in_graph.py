"""Every estimator in a traced step: costs as declared, and files that keep it."""

import keras
import numpy as np
import pytest
from small_models import directions, frozen_source, head_model, images_and_labels, program_for

from keras_reprogram import SPSA, CoordinateWise, DecoderProgram, spsa_learning_rate

COUNT = 10
IMAGES, LABELS = images_and_labels(COUNT)

ESTIMATORS = {
    "SPSA": (SPSA(2), 4),
    "SPSA per image": (SPSA(2, per_image=True, clip="sqrt"), 4),
    "coordinates": (CoordinateWise(3), 6),
    "all coordinates": (CoordinateWise(two_sided=False), 12),
    "scores": (directions(2, differences="scores"), 2),
}


# Per image differs in the estimate, which is tested eagerly; a graph shares the rest.
@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name == "SPSA per image"))
        for name in ESTIMATORS
    ],
)
def test_declared_cost_is_counted_with_a_short_last_batch(name):
    estimator, cost = ESTIMATORS[name]
    program = program_for(frozen_source(), grid=2, masked=False)
    model = head_model(estimator=estimator, program=program, built=True)
    assert estimator.queries_per_image == cost
    model.fit(IMAGES, LABELS, batch_size=4, epochs=2, verbose=0)
    assert model.queries_used == 2 * COUNT * (1 + cost)
    assert np.abs(keras.ops.convert_to_numpy(program.program_weights)).max() > 0


@pytest.mark.slow
def test_a_keras_file_keeps_estimator_schedule_and_decoder(tmp_path):
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(9), keras.layers.Reshape((3, 3, 1))]
    )
    source = frozen_source(output="features")
    program = DecoderProgram((4, 4, 1), source.source_shape, decoder, source_range=(0, 255))
    rate = spsa_learning_rate(0.5, 2.0, 0.3)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    model = head_model(estimator=SPSA(2, decay=0.2), program=program, optimizer=optimizer)
    model.fit(IMAGES, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.gradient_estimator.get_config() == model.gradient_estimator.get_config()
    np.testing.assert_array_equal(
        again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )
    assert [v.path for v in again.program.trainable_variables] == [program.program_weights.path]
    for each in (model, again):
        each.fit(IMAGES, LABELS, verbose=0)
    np.testing.assert_allclose(again.program.program_weights, program.program_weights, rtol=1e-4)
