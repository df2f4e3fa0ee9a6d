"""OpaqueSource: queries, limits, and errors that come out as themselves."""

import keras
import numpy as np
import pytest
from checks.check_source import scores_of, small_model
from checks.tiny_models import NUM_LABELS, SHAPE, random_images

from keras_reprogram import OpaqueSource


def even(images):
    return np.full((len(images), NUM_LABELS), 1 / NUM_LABELS)


def source_of(function=even, **options):
    facts = {"value_range": (0, 255), "identity": "test"}
    return OpaqueSource(function, SHAPE, NUM_LABELS, **facts | options)


class ServiceError(Exception):
    """Like those of HTTP clients: not to be built from a message alone."""

    def __init__(self, *, status):
        super().__init__(f"status {status}")
        self.status = status


def failing_after(num_calls, error):
    calls = []

    def function(images):
        calls.append(len(images))
        if len(calls) > num_calls:
            raise error
        return even(images)

    return function


ERRORS = [ConnectionError("the line is dead"), KeyboardInterrupt(), ServiceError(status=503)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_come_out_of_a_call_as_themselves(error):
    with pytest.raises(type(error)) as caught:
        source_of(failing_after(0, error))(random_images(1))
    assert caught.value is error


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("num_calls", [0, 2])
def test_errors_come_out_of_fit_as_themselves(error, num_calls):
    # The first call is the clean pass, the second one asks for candidates.
    source = source_of(failing_after(num_calls, error))
    model = small_model(source)
    with pytest.raises(type(error)) as caught:
        model.fit(random_images(8, (6, 6, 3)), np.arange(8) % 3, batch_size=4, verbose=0)
    assert caught.value is error
    # What was sent before the line broke may have been paid for.
    assert source.queries_used == model.queries_used > 0


def test_max_batch_is_kept_and_queries_are_counted():
    sizes = []

    def function(images):
        sizes.append(len(images))
        return even(images)

    source = source_of(function, max_batch=4)
    source(random_images(10))
    assert sizes == [4, 4, 2]
    source(random_images(6).reshape(3, 2, *SHAPE))
    assert sizes == [4, 4, 2, 4, 2]
    assert source.queries_used == sum(sizes)


def test_max_batch_is_kept_in_fit():
    sizes = []

    def function(images):
        sizes.append(len(images))
        return even(images)

    model = small_model(source_of(function, max_batch=5))
    model.fit(random_images(12, (6, 6, 3)), np.arange(12) % 3, batch_size=8, verbose=0)
    assert max(sizes) == 5
    assert sum(sizes) == 12 * (1 + model.gradient_estimator.queries_per_image)


def test_no_images_ask_nothing():
    source = source_of()
    assert source(np.zeros((0, *SHAPE), "float32")).shape == (0, NUM_LABELS)
    assert source.queries_used == 0


def test_function_sees_float_arrays():
    seen = []

    def function(images):
        seen.append(images)
        return even(images)

    source_of(function)(random_images(1).astype("uint8"))
    assert isinstance(seen[0], np.ndarray)
    assert seen[0].dtype == np.float32


def with_first(value):
    def function(images):
        answer = even(images)
        answer[0, 0] = value
        return answer

    return function


LIES = [
    (lambda images: even(images)[:, :-1], {}, r"scores of shape \(3, 6\).*Received: shape \(3, 5"),
    (lambda images: even(images)[:-1], {}, r"scores of shape \(3, 6\).*Received: shape \(2, 6"),
    (lambda images: even(images)[0], {}, r"Received: shape \(6,\)"),
    (lambda images: [[0.5, 0.5], [1.0], [1.0]], {}, "Received: rows of different lengths"),
    (lambda images: [["a"] * 6] * 3, {}, "must answer with numbers"),
    (lambda images: None, {}, "must answer with numbers"),
    (with_first(np.nan), {}, "NaN or infinity. Received: image 0"),
    (with_first(np.inf), {"sum_tolerance": None}, "NaN or infinity"),
    (with_first(0.5), {}, r"a row that sums to 1\.333"),
    (with_first(1 / NUM_LABELS + 0.002), {}, "sum to 1 within 0.001"),
    (lambda images: even(images) * [9, -3, 0, 0, 0, 0], {}, "smallest score -0.5"),
    (with_first(0.3), {"score_step": 1 / 256}, r"sum to 1 within 0.0127"),
]


@pytest.mark.parametrize(("function", "options", "message"), LIES)
def test_a_wrong_answer_is_refused(function, options, message):
    source = source_of(function, **options)
    with pytest.raises(ValueError, match=message):
        source(random_images(3))


FINE = [
    (with_first(1 / NUM_LABELS + 0.0005), {}),
    (with_first(1 / NUM_LABELS + 0.01), {"score_step": 1 / 256}),
    (with_first(0.5), {"sum_tolerance": None}),
    (with_first(0.5), {"sum_tolerance": 0.4}),
    (with_first(-7.0), {"score_kind": "logits"}),
    (lambda images: even(images).tolist(), {}),
]


@pytest.mark.parametrize(("function", "options"), FINE)
def test_an_answer_within_the_tolerance_passes(function, options):
    scores = scores_of(source_of(function, **options), random_images(3))
    np.testing.assert_allclose(scores, function(random_images(3)), atol=1e-6)


def test_fingerprint_names_the_service_and_its_facts():
    prints = {
        source_of().fingerprint,
        source_of(identity="test 2").fingerprint,
        source_of(value_range=(0, 1)).fingerprint,
        source_of(score_kind="logits").fingerprint,
    }
    assert len(prints) == 4
    # Another callable under the same name is the same service.
    assert source_of(with_first(0)).fingerprint in prints


def test_config_names_save_program():
    with pytest.raises(ValueError, match="save_program"):
        source_of().get_config()


def test_function_must_be_callable():
    with pytest.raises(TypeError, match="`function` must be callable.*Received: str"):
        source_of("https://example.org")


def test_channels_first_are_named_before_anything_is_asked():
    with pytest.raises(ValueError, match=r"channels first. Pass \(96, 96, 3\)"):
        OpaqueSource(len, (3, 96, 96), 2, value_range=(0, 1), identity="torch")


@pytest.mark.parametrize("through_another", [False, True])
def test_a_function_may_ask_the_predict_of_another_network(through_another):
    network = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(NUM_LABELS, activation="softmax"),
        ]
    )
    source = source_of(lambda images: network.predict(images / 255, verbose=0))
    if through_another:
        source = source_of(source)
    model = small_model(source)
    images = random_images(7, (6, 6, 3))
    # Each number of images is one that neither network has seen before.
    for count in (3, 7):
        asked = keras.ops.convert_to_numpy(model.program(images[:count]))
        shown = asked.reshape(-1, *SHAPE) / 255
        answers = keras.ops.convert_to_numpy(network(shown)).reshape(count, -1, NUM_LABELS)
        expected = keras.ops.convert_to_numpy(model.output_map(answers))
        np.testing.assert_allclose(
            model.predict(images[:count], verbose=0), expected, rtol=1e-4, atol=1e-6
        )
