"""mel_matrix: frequencies -> bands that are as wide as the ear hears them."""

import numpy as np


def mel_matrix(
    num_bands: int, num_frequencies: int, hertz: tuple[float, float], sample_rate: float
) -> np.ndarray:
    """Triangles of equal width on the mel scale, `(num_frequencies, num_bands)`, as `tf.signal`'s.

    `hertz` are the lower end of the first and the upper end of the last band.
    """
    # O'Shaughnessy's formula, as in HTK: mel = 1127 ln(1 + f / 700).
    lowest, highest = map(float, _mel(np.array(hertz)))
    corners = np.linspace(lowest, highest, num_bands + 2)
    lower, centre, upper = corners[:-2], corners[1:-1], corners[2:]
    mels = _mel(np.linspace(0.0, sample_rate / 2, num_frequencies))[:, None]
    rising, falling = (mels - lower) / (centre - lower), (upper - mels) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    # The constant part of a sound is in no band.
    triangles[0] = 0.0
    return triangles.astype(np.float32)


def _mel(hertz: np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(hertz / 700.0)
