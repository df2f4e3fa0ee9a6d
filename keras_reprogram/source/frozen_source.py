"""FrozenSource: a Keras classifier, frozen and differentiable."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram.arguments import takes_old_names
from keras_reprogram.inner_networks import network_config, network_from
from keras_reprogram.source.answer_probe import probe_source
from keras_reprogram.source.applications import load_application
from keras_reprogram.source.fingerprints import network_facts
from keras_reprogram.source.folded_network import folded
from keras_reprogram.source.keras_classifier import (
    asks_otherwise,
    check_predict,
    features_of,
    network_input_of,
    own_image_size,
    own_preprocessing,
    score_kind_of,
)
from keras_reprogram.source.keras_files import load_keras_file
from keras_reprogram.source.network_input import (
    channel_values,
    check_channel_order,
    check_has_colours,
    compute_in_float32,
    draws_at_random,
    float_images,
    has_no_gradient,
    integer_input,
    reads_floats_alike,
    rounded_for,
)
from keras_reprogram.source.source import Source, check_answer

# Rounding that a network's folded view may add, as a share of its largest score.
_SAME = 1e-5


@keras.saving.register_keras_serializable(package="keras_reprogram")
class FrozenSource(Source):
    """A Keras classifier as a source. It sets the user's model untrainable.

    The model always runs with `training=False`: dropout stays off, BatchNorm statistics stay as
    they are. It runs in float32: layers of half precision (`mixed_bfloat16`) are set to it.
    Gradients flow through it to the program, except where it counts with integers or was quantised
    to float8: then `differentiable` is false, and gradients are estimated.

    Args:
        model: a built Keras model `(n, H, W, C) -> (n, S)`, or one of series or texts, such as
            `(n, samples) -> (n, S)`, whose axes are all of a known size.
        value_range: `(low, high)` of the pixels that callers send; `None` as in `Source`.
        preprocessing: `(scale, offset)`, each a number or one a channel: the model sees
            `images * scale + offset`. `None`: what the model's own `preprocessor` does
            (KerasHub), or nothing. `from_application` sets it.
        channel_order: `"rgb"`, or `"bgr"` to turn the channels round before that.
        output: `"scores"`, or `"features"` for what enters the last layer with weights
            (Kloberdanz 2020, ch. 4), for `NewHead`.
        score_kind: `"probabilities"`, `"independent"`, `"logits"`, `"independent_logits"`;
            `None` reads it off the last layer's activation. See `Source`.
        class_names: names of the scores, or `None`.
        sum_tolerance: how far a row may sum from 1; `None` turns the check off.
        max_batch: most images at once while estimating gradients.
        data_format: `"channels_first"` for a model that takes `(n, C, H, W)`; callers send
            `(..., H, W, C)` in any case. `None` raises an error if the sizes suggest it.
        image_size: side, or `(height, width)`, for a model that takes images of any size; `None`
            asks its own `preprocessor`. Of series the length, where it is open.
        name: layer name.

    Raises:
        ValueError: if the model has several inputs or outputs, no fixed image size, weights in
            half precision, answers with something else than it declares, or prepares images in
            its `predict` in a way that cannot be read.

    Example:
    ```python
    import keras
    from keras_reprogram import FrozenSource

    model = keras.Sequential([
        keras.Input((32, 32, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(10, activation="softmax"),
    ])
    source = FrozenSource(model, value_range=(0, 255))
    assert source.num_labels == 10 and not source.trainable_variables
    ```
    """

    differentiable = True

    def __init__(
        self,
        model: keras.Model,
        *,
        value_range: tuple[float, float] | None,
        preprocessing: tuple[Any, Any] | None = None,
        channel_order: str = "rgb",
        output: str = "scores",
        score_kind: str | None = None,
        class_names: Sequence[str] | None = None,
        sum_tolerance: float | str | None = "auto",
        max_batch: int | None = 256,
        data_format: str | None = None,
        image_size: int | tuple[int, int] | None = None,
        name: str = "source",
    ) -> None:
        if output not in ("scores", "features"):
            raise ValueError(f"`output` must be 'scores' or 'features'. Received: {output!r}.")
        check_channel_order(channel_order)
        if image_size is None and None in getattr(model, "input_shape", ())[1:]:
            image_size = own_image_size(model)
        network_input = network_input_of(model, data_format, image_size)
        check_has_colours(channel_order, network_input.source_shape)
        compute_in_float32(model)
        source_shape = network_input.source_shape
        answering = features_of(model) if output == "features" else model
        if answering.output_shape[-1] is None:
            raise ValueError(
                "The number of features must not depend on the image size. Received: "
                f"`{model.name}`, whose number of features grows with the image size. Rebuild "
                "it with an `Input((H, W, C))` of the size that it was trained on."
            )
        kind = "features" if output == "features" else score_kind or score_kind_of(model)
        super().__init__(
            source_shape,
            answering.output_shape[-1],
            value_range=value_range,
            class_names=None if output == "features" else class_names,
            score_kind=kind,
            sum_tolerance=sum_tolerance,
            max_batch=max_batch,
            name=name,
        )
        self.model = model
        self.answers_at_random = draws_at_random(model)
        self.output_kind = output
        said = own_preprocessing(model) if preprocessing is None else preprocessing
        self.preprocessing = tuple(channel_values(part, network_input.channels) for part in said)
        self.channel_order = channel_order
        self.data_format, self.image_size = data_format, image_size
        self.network_input = network_input
        called = self._asked_network(answering)
        self._ask(called)
        self.model.trainable = False
        self.built = True
        self._probe()
        self._fold(called)
        by_itself = preprocessing is None and channel_order == "rgb" and output == "scores"
        if by_itself and asks_otherwise(model):
            self._check_predict()

    @classmethod
    @takes_old_names(scores="score_kind")
    def from_application(
        cls,
        application: str,
        *,
        weights: str | None = "imagenet",
        output: str = "scores",
        score_kind: str | None = None,
        max_batch: int | None = 256,
        **options: Any,
    ) -> FrozenSource:
        """A `keras.applications` classifier with its own preprocessing inside.

        Args:
            application: a name such as `"MobileNetV2"`; see `application_names()`.
            weights: `"imagenet"`, a path, or `None` for random weights.
            output: `"scores"` or `"features"`.
            score_kind: as above; `None` asks the last layer's activation.
            max_batch: most images at once while estimating gradients.
            **options: for the application itself, e.g. `alpha=0.25, input_shape=(128, 128, 3)`.

        Returns:
            A source that takes pixels in [0, 255].

        Raises:
            ValueError: for an unknown name; the message lists what there is.

        Example:
        ```python
        from keras_reprogram import FrozenSource

        source = FrozenSource.from_application("MobileNetV2", weights=None)
        assert source.source_shape == (224, 224, 3)
        ```
        """
        loaded = load_application(application, weights=weights, **options)
        return cls(
            loaded.model,
            value_range=(0.0, 255.0),
            preprocessing=(loaded.preprocessing.scale, loaded.preprocessing.offset),
            channel_order=loaded.preprocessing.channel_order,
            output=output,
            score_kind=score_kind,
            class_names=loaded.class_names,
            max_batch=max_batch,
        )

    @classmethod
    def from_file(cls, path: str | Path, **options: Any) -> FrozenSource:
        """A `.keras`, `.h5` or `.hdf5` file, of Keras 3 or of Keras 2.

        Args:
            path: the file, such as Teachable Machine's `keras_model.h5`.
            **options: as above; `value_range` at least, which no file says.

        Returns:
            The source.

        Raises:
            FileNotFoundError: if there is no file.
            ValueError: if Keras cannot load it; the message says what wrote it, and the way out.

        Example:
        ```python
        from keras_reprogram import FrozenSource, embedded_path

        source = FrozenSource.from_file(embedded_path("traffic_signs.keras"), value_range=(0, 255))
        assert source.num_labels == 43
        ```
        """
        source = cls(load_keras_file(path), **options)
        probe_source(source, str(path))
        return source

    def answer(self, images: Any) -> Any:
        scale, offset = (np.asarray(part, np.float32) for part in self.preprocessing)
        if self.channel_order == "bgr":
            images = ops.flip(images, axis=-1)
        images = images * scale + offset
        if self.network_input.axes is not None:
            images = ops.transpose(images, self.network_input.axes)
        if self.whole_numbers is not None:
            images = rounded_for(self.whole_numbers, images)
        answer = self._answering[0](images)
        return ops.cast(ops.reshape(answer, (-1, self.num_labels)), "float32")

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        digest.update(str(network_facts(self.model)).encode())
        for variable in self.model.weights:
            array = ops.convert_to_numpy(variable.value)
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(array.tobytes())
        kind = self.fingerprinted_scores
        facts = (self.source_shape, self.value_range, self.channel_order, kind)
        digest.update(f"{facts} {self.preprocessing}".encode())
        # The size is among the facts already.
        digest.update(b"channels_first" * self.network_input.channels_first)
        return digest.hexdigest()

    def get_config(self) -> dict[str, Any]:
        return self.base_config() | {
            "model": network_config(self.model),
            "preprocessing": [np.asarray(part).tolist() for part in self.preprocessing],
            "channel_order": self.channel_order,
            "output": self.output_kind,
            "score_kind": None if self.score_kind == "features" else self.score_kind,
            "data_format": self.data_format,
            "image_size": self.image_size,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FrozenSource:
        config = dict(config)
        config["model"] = network_from(config["model"])
        if config["value_range"] is not None:
            config["value_range"] = tuple(config["value_range"])
        config["preprocessing"] = tuple(config["preprocessing"])
        return cls(**cls.config_in_new_names(config))

    def _ask(self, network: keras.Model) -> None:
        # A function keeps the second view of the same layers out of Keras's tracking.
        self._answering = (lambda images: network(images, training=False),)

    def _fold(self, network: keras.Model) -> None:
        """Asks the folded view of a network from now on, if it answers alike."""
        view = folded(network)
        if view is network:
            return
        images = np.random.default_rng(0).uniform(*self.probe_range, (1, *self.source_shape))
        expected = ops.convert_to_numpy(self.answer(images.astype(np.float32)))
        self._ask(view)
        found = ops.convert_to_numpy(self.answer(images.astype(np.float32)))
        if not np.allclose(found, expected, rtol=_SAME, atol=_SAME * np.abs(expected).max()):
            self._ask(network)

    def _asked_network(self, network: keras.Model) -> keras.Model:
        """The network that is called: in float32 from its image on, if it takes floats."""
        # The dtype to which images are rounded, or `None`.
        self.whole_numbers = integer_input(network)
        view = network
        try:
            view = float_images(network)
            shape = self.network_input.image_shape
            if self.whole_numbers is None or reads_floats_alike(network, view, shape):
                self.whole_numbers = None
            else:
                view = network
        except Exception:  # Whatever a layer raises that takes integers alone.
            if self.whole_numbers is None:
                raise
        # The view's own parts were built under the policy of now.
        compute_in_float32(view)
        self.differentiable = self.whole_numbers is None and not has_no_gradient(self.model)
        return view

    def _check_predict(self) -> None:
        random = np.random.default_rng(0)
        images = random.uniform(*self.probe_range, (2, *self.source_shape)).astype(np.float32)
        axes = self.network_input.axes
        shown = images if axes is None else np.transpose(images, axes)
        check_predict(self.model, shown, ops.convert_to_numpy(self.answer(images)))

    def _probe(self) -> None:
        """Asks one mid-range image, to find a wrong range or a missing softmax before training."""
        middle = sum(self.probe_range) / 2
        image = np.full((1, *self.source_shape), middle, np.float32)
        answer = ops.convert_to_numpy(self.answer(image))
        check_answer(
            answer, 1, self.num_labels, self.sum_tolerance, self.model.name, self.score_kind
        )
