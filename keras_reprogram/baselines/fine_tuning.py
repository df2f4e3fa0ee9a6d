"""What the source's owner could do: train all of its weights for the target."""

import numpy as np

from keras_reprogram.baselines.augmentation import Augmentation
from keras_reprogram.baselines.baseline import Baseline
from keras_reprogram.baselines.best_length import Length, best_length
from keras_reprogram.baselines.fine_tuned_network import BATCH_SIZE, FineTunedNetwork
from keras_reprogram.baselines.image_data import check_images
from keras_reprogram.image_range import check_range, check_set
from keras_reprogram.source.frozen_source import FrozenSource
from keras_reprogram.training.validation_split import split_validation

NAME = "full fine-tuning"
LEARNING_RATES = (3e-5, 1e-4, 3e-4)
MOST_RATES = 3
MOST_EPOCHS = 20
# Epochs without a better validation accuracy after which a rate is given up.
PATIENCE = 3
# Training images are moved by at most this share of a side.
SHIFT = 0.1


def fit_fine_tuned(
    source: FrozenSource,
    train_images: np.ndarray,
    train_labels: np.ndarray,
    *,
    num_classes: int,
    target_range: tuple[float, float] = (0.0, 255.0),
    learning_rates: tuple[float, ...] = LEARNING_RATES,
    most_epochs: int = MOST_EPOCHS,
    augment: bool = True,
    mirror: bool = False,
    validation_fraction: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Baseline:
    """Trains all weights of a copy of the source on the target's images.

    It is what reprogramming does without, and the bound that only the owner of the source can
    reach. The copy starts with the exact linear head on its features; Adam trains everything at
    each of the rates until three epochs bring no better validation accuracy. The best rate and
    number of steps are taken again on all images. BatchNorm keeps the source's statistics, and
    dropout is off.

    Args:
        source: A `FrozenSource`, e.g. of a `keras.applications` network. It stays as it is, bit
            for bit.
        train_images: Array of shape `(num_images, height, width, channels)` in `target_range`;
            resized to the source's input.
        train_labels: Integer array of shape `(num_images,)`, values `0..num_classes - 1`.
        num_classes: Number of classes of the task.
        target_range: `(low, high)` of the images.
        learning_rates: One to three.
        most_epochs: Most epochs at each of them, at least 1.
        augment: Whether training images are shifted by up to a tenth of a side.
        mirror: Whether left and right may change places too: right for photographs, wrong for
            digits and signs.
        validation_fraction: Share held out for the choice, above 0 and below 1.
        seed: Non-negative integer that decides split, order and shifts.
        groups: Optional array of shape `(num_images,)`; images of one group are held out together.

    Returns:
        A `Baseline` named `"full fine-tuning"`; its `note` says what was chosen.

    Raises:
        ValueError: For a source that is not a `FrozenSource`, more than three rates, images that
            are not of rank 4, NaN, labels out of range, or fewer than two classes.

    Example:
        ```python
        import numpy as np
        from keras_reprogram import FrozenSource
        from keras_reprogram.baselines import fit_fine_tuned

        source = FrozenSource.from_application(
            "MobileNet", weights=None, alpha=0.25, input_shape=(32, 32, 3)
        )
        images, labels = np.random.default_rng(0).uniform(0, 255, (20, 8, 8, 1)), np.arange(20) % 2
        tuned = fit_fine_tuned(
            source, images, labels, num_classes=2, learning_rates=(1e-4,), most_epochs=1
        )
        print(tuned.name, tuned.note)
        ```
    """
    images, labels = np.asarray(train_images), np.asarray(train_labels)
    check_images(images, labels, num_classes)
    check_set(check_range(images, target_range), target_range)
    _check(source, learning_rates, most_epochs)
    train, held_out = split_validation(images, labels, validation_fraction, seed, groups)
    augmentation = Augmentation(SHIFT if augment else 0.0, mirror)
    network = FineTunedNetwork(
        source, images.shape[1:], num_classes, target_range, augmentation, seed=seed
    )
    rate, best = _choice(
        network,
        (images[train], labels[train]),
        (images[held_out], labels[held_out]),
        learning_rates,
        most_epochs,
        None if groups is None else np.reshape(groups, -1)[train],
    )
    network.start_at_linear_head(images, labels, groups)
    network.learn_at(rate)
    network.train(images, labels, best.steps)
    note = (
        f"all weights of a copy of {source.model.name}; BatchNorm in inference mode, dropout off; "
        f"Adam at {rate:g}, {best.steps} steps of {BATCH_SIZE} from the linear head; {augmentation}"
    )
    return Baseline(NAME, best.accuracy, len(labels), best.converged, None, network, note)


def _choice(
    network: FineTunedNetwork,
    train: tuple[np.ndarray, np.ndarray],
    held_out: tuple[np.ndarray, np.ndarray],
    learning_rates: tuple[float, ...],
    most_epochs: int,
    groups: np.ndarray | None,
) -> tuple[float, Length]:
    """The rate that is best on validation, and its number of steps."""
    network.start_at_linear_head(*train, groups)
    epoch = max(len(train[0]) // BATCH_SIZE, 1)
    tried = []
    for rate in learning_rates:
        network.learn_at(rate)
        length = best_length(
            network,
            train,
            held_out,
            most_steps=most_epochs * epoch,
            round_steps=epoch,
            patience=PATIENCE,
        )
        tried.append((rate, length))
    return max(tried, key=lambda pair: pair[1].rank())


def _check(source: FrozenSource, learning_rates: tuple[float, ...], most_epochs: int) -> None:
    if not isinstance(source, FrozenSource):
        raise ValueError(
            "Only a source whose weights are at hand can be fine-tuned: a `FrozenSource`. "
            f"Received: {type(source).__name__}. Load its Keras model, or leave this row out."
        )
    rates_fit = 1 <= len(learning_rates) <= MOST_RATES and min(learning_rates) > 0
    if not rates_fit or most_epochs < 1:
        raise ValueError(
            f"Expected one to {MOST_RATES} `learning_rates` above 0, and `most_epochs` of at least "
            f"1. Received: learning_rates={learning_rates}, most_epochs={most_epochs}. Try "
            f"{LEARNING_RATES} and {MOST_EPOCHS}."
        )
