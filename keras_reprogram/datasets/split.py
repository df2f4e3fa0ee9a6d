"""A training and a test part for data that come in one piece."""

import numpy as np

from keras_reprogram.training.validation_split import split_validation

__all__ = ["split_train_test", "split_validation"]


def split_train_test(
    images: np.ndarray, labels: np.ndarray, test_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Splits images stratified by class; every class keeps at least one training image.

    Args:
        images: Array of shape `(num_images, height, width, channels)`.
        labels: Integer array of shape `(num_images,)`.
        test_fraction: Share of the test part, above 0 and below 1.
        seed: Non-negative integer that decides the split.

    Returns:
        Training images, training labels, test images and test labels, in the order that they had.

    Raises:
        ValueError: As `split_validation`.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.datasets.split import split_train_test

        images, labels = np.zeros((10, 8, 8, 1), "uint8"), np.arange(10) % 2
        parts = split_train_test(images, labels, test_fraction=0.2, seed=0)
        print([len(part) for part in parts])  # [8, 8, 2, 2]
        ```
    """
    train, test = split_validation(images, labels, test_fraction, seed)
    return images[train], labels[train], images[test], labels[test]
