"""What images and labels must look like before a network is trained on them."""

import numpy as np


def check_images(images: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
    """Refuses what a network cannot be trained on.

    Args:
        images: Array of shape `(num_images, height, width, channels)`, finite.
        labels: Integer array of shape `(num_images,)`, values `0..num_classes - 1`.
        num_classes: Number of classes of the task.

    Raises:
        ValueError: For another rank or length, NaN, labels out of range, or fewer than two classes.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.baselines.image_data import check_images

        check_images(np.zeros((2, 8, 8, 1)), np.array([0, 1]), num_classes=2)
        ```
    """
    if images.ndim != 4 or labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise ValueError(
            "Expected images of shape (num_images, height, width, channels) with one integer "
            f"label each. Received: images {images.shape}, labels {labels.shape} of "
            f"{labels.dtype}. For grey images add an axis: `images[..., None]`."
        )
    present = np.unique(labels)
    if len(present) < 2 or present[0] < 0 or present[-1] >= num_classes:
        raise ValueError(
            f"Expected labels of two or more classes in 0..{num_classes - 1}. "
            f"Received: {len(present)} classes, {present[:5].tolist()} first."
        )
    if not np.isfinite(images).all():
        raise ValueError("Expected finite images. Received: NaN or infinity. Remove those rows.")
