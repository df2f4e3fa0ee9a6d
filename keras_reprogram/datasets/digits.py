"""scikit-learn's handwritten digits: 1,797 grey images of 8x8, there without any download."""

import numpy as np

from keras_reprogram.datasets.target_data import TargetData, split_train_test

TEST_IMAGES = 540
SPLIT_SEED = 0


def load_digits() -> TargetData:
    """Loads scikit-learn's digits with a fixed stratified split: 1,257 for training, 540 for test.

    Returns:
        A `TargetData` of shape (8, 8, 1); the grey levels 0..16 are scaled to 0..255.

    Example:
        ```python
        from keras_reprogram.datasets import load_digits

        digits = load_digits()
        print(digits.train_images.shape, digits.test_images.shape)  # (1257, 8, 8, 1) (540, 8, 8, 1)
        ```
    """
    # Its import takes longer than the refusal of a misspelt name should.
    from sklearn.datasets import load_digits as sklearn_load_digits

    bunch = sklearn_load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    parts = split_train_test(images, labels, TEST_IMAGES / len(images), SPLIT_SEED)
    return TargetData(
        "digits",
        *parts,
        class_names=tuple(str(digit) for digit in range(10)),
        origin="scikit-learn's load_digits (1,797 handwritten digits, shipped with the package).",
        notes=("Fixed stratified split by this library: 1,257 training and 540 test images.",),
    )
