"""GrowDirections: when it grows, and that the queries it costs are counted."""

import keras
import pytest
from small_models import directions, frozen_source, images_and_labels, opaque_source, small_model

from keras_reprogram import CoordinateWise, GrowDirections

COUNT = 10
IMAGES, LABELS = images_and_labels(COUNT)


class Losses(keras.callbacks.Callback):
    """Writes other losses into the logs, and reads the number of directions."""

    def __init__(self, losses):
        super().__init__()
        self.losses, self.numbers = losses, []

    def on_epoch_end(self, epoch, logs=None):
        logs["made"] = self.losses[epoch]
        self.numbers.append(self.model.gradient_estimator.num_directions)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("source", [frozen_source, opaque_source])
def test_directions_double_when_the_loss_stops_falling(source):
    model = small_model(source(), estimator=directions(7), built=True)
    before = model.queries_used
    made = Losses([3.0, 2.0, 2.0, 1.0, 1.5, 1.2, 1.2, 1.2, 1.2])
    grow = GrowDirections(start=1, end=3, patience=2, monitor="made")
    model.fit(
        IMAGES, LABELS, batch_size=4, epochs=9, shuffle=False, callbacks=[made, grow], verbose=0
    )
    assert made.numbers == [1, 1, 1, 1, 1, 1, 2, 2, 3]
    assert model.queries_used - before == COUNT * sum(1 + number for number in made.numbers)
    assert model.gradient_estimator.num_directions == 3


@pytest.mark.slow
def test_every_fit_begins_anew():
    model = small_model(opaque_source(), estimator=directions(1))
    grow = GrowDirections(start=2, end=4, patience=1, monitor="made")
    for _ in range(2):
        made = Losses([1.0, 1.0, 1.0])
        model.fit(IMAGES, LABELS, epochs=3, callbacks=[made, grow], verbose=0)
        assert made.numbers == [2, 2, 4]


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [CoordinateWise(1), None])
def test_a_model_without_directions_is_refused(estimator):
    model = small_model(frozen_source(), estimator=estimator)
    with pytest.raises(ValueError, match=r"needs a model whose .*Received: (Coord|None)"):
        model.fit(IMAGES, LABELS, callbacks=[GrowDirections()], verbose=0)


@pytest.mark.slow
def test_an_unknown_log_is_refused_with_those_there_are():
    model = small_model(frozen_source(), estimator=directions(1))
    with pytest.raises(ValueError, match=r"'accuracy', 'loss'.*Received: 'val_loss'"):
        model.fit(IMAGES, LABELS, callbacks=[GrowDirections(monitor="val_loss")], verbose=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 0}, "`start` must be a positive integer"),
        ({"start": 3, "end": 2}, "`end` must be at least `start`. Received: start=3, end=2"),
        ({"patience": 0}, "`patience` must be a positive integer"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        GrowDirections(**options)
