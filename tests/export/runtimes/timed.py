"""What every program here does around its runtime: ask image by image, and time it."""

import time

import numpy as np


def write_answers(file, images, classify):
    """Scores `(n, classes)` and the median milliseconds of an image."""
    scores, seconds = [], []
    for image in images:
        start = time.perf_counter()
        scores.append(np.array(classify(image), np.float32).reshape(-1))
        seconds.append(time.perf_counter() - start)
    np.savez(file, scores=np.stack(scores), milliseconds=1e3 * np.median(seconds))
