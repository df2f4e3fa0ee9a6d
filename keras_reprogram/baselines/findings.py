"""Baselines of several findings an image: pixels alone, and a linear head on features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.kernel_approximation import RBFSampler

from keras_reprogram.fitting.findings_fit import matrix_of
from keras_reprogram.fitting.fit_settings import MapFit
from keras_reprogram.fitting.map_fitting import fit_logistic_regression
from keras_reprogram.fitting.validation import split_validation, validation_score

# Of an RBF kernel; about as many as the kernel machine of one class has support vectors.
_WAVES = 1024
# Inputs have a mean squared norm of 1, where gamma=1 is scikit-learn's gamma="scale".
_GAMMA = 1.0


@dataclass(frozen=True, eq=False)
class FindingsBaseline:
    """Fitted logistic regressions, one a finding, made by one of the functions beside it.

    Args:
        name: What was fitted.
        validation_loss: Mean binary cross-entropy on the validation part, before the last fit.
        thresholds: `(K,)`, the probability from which each counts as found.
        mean: `(d,)`, of the inputs.
        scale: What the centred inputs are divided by, `(d,)` or one number.
        sampler: Random Fourier features of the inputs, or None.
        fit: Of the features.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.baselines import fit_no_source_findings

        random = np.random.default_rng(0)
        images = random.uniform(0, 255, (60, 8, 8, 1))
        labels = (images[:, :2, 0, 0] > 128).astype(int)
        baseline = fit_no_source_findings(images, labels)
        assert baseline.predict_probabilities(images).shape == (60, 2)
        ```
    """

    name: str
    validation_loss: float
    thresholds: np.ndarray
    mean: np.ndarray = field(repr=False)
    scale: np.ndarray | float = field(repr=False)
    sampler: RBFSampler | None = field(repr=False)
    fit: MapFit = field(repr=False)

    def predict_probabilities(self, images: np.ndarray) -> np.ndarray:
        """Predicts the probability of each finding.

        Args:
            images: As for the fit, `(n, ...)`.

        Returns:
            Array of shape `(n, K)`.

        Raises:
            ValueError: If the images have another size than those of the fit.

        Example:
            ```python
            import numpy as np
            from keras_reprogram.baselines import fit_linear_head_findings

            random = np.random.default_rng(0)
            features = random.normal(size=(40, 3))
            head = fit_linear_head_findings(features, (features[:, :2] > 0).astype(int))
            assert head.predict_probabilities(features).shape == (40, 2)
            ```
        """
        rows = _flat(images)
        if rows.shape[1] != len(self.mean):
            raise ValueError(
                f"Expected inputs of {len(self.mean)} numbers each. Received: shape "
                f"{np.shape(images)}. Pass images of the size that was fitted on."
            )
        rows = (rows - self.mean) / self.scale
        if self.sampler is not None:
            rows = self.sampler.transform(rows)
        return 1 / (1 + np.exp(-(rows @ self.fit.kernel.astype(float) + self.fit.bias)))


def fit_no_source_findings(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    *,
    validation_fraction: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> FindingsBaseline:
    """Fits findings on pixels alone: linearly, or on random Fourier features, what is better.

    For several findings what `fit_no_source` is for one class. The choice is by the binary
    cross-entropy on a validation part; each finding has a regularisation of its own
    (`fit_logistic_regression`).

    Args:
        train_images: Array of shape `(num_images, height, width, channels)`, any range.
        train_labels: `(num_images, K)` of 0 and 1.
        validation_fraction: Share held out for the choice, above 0 and below 1.
        seed: Non-negative integer that decides the split and the random features.
        groups: Optional array of shape `(num_images,)`; images of one group are held out together.
        sample_weight: Optional, `(num_images,)` or `(num_images, K)`, non-negative.

    Returns:
        A `FindingsBaseline` named `"logistic regression on pixels"` or `"RBF features of pixels"`.

    Raises:
        ValueError: For NaN, labels other than 0 and 1, or too few images to hold one out.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.baselines import fit_no_source_findings

        images = np.random.default_rng(0).uniform(0, 255, (60, 8, 8, 1))
        labels = (images[:, :2, 0, 0] > 128).astype(int)
        print(fit_no_source_findings(images, labels).name)
        ```

    References:
        Rahimi, Recht, "Random features for large-scale kernel machines", NeurIPS 2007.
    """
    rows = _checked(_flat(train_images))
    mean = rows.mean(axis=0)
    scale = float(np.sqrt(np.mean(np.sum(np.square(rows - mean), axis=1)))) or 1.0
    options: dict[str, Any] = {
        "validation_fraction": validation_fraction,
        "seed": seed,
        "groups": groups,
    }
    waves = RBFSampler(gamma=_GAMMA, n_components=_WAVES, random_state=seed)
    waves.fit(rows[:1])
    found = [
        _fitted(name, rows, train_labels, sample_weight, mean, scale, sampler, **options)
        for name, sampler in (
            ("logistic regression on pixels", None),
            ("RBF features of pixels", waves),
        )
    ]
    return min(found, key=lambda baseline: baseline.validation_loss)


def fit_linear_head_findings(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    validation_fraction: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> FindingsBaseline:
    """Fits findings on given features, standardised: for several findings `fit_linear_head`.

    Args:
        features: Array of shape `(num_images, num_features)`, finite.
        labels: `(num_images, K)` of 0 and 1.
        validation_fraction: Share held out, above 0 and below 1.
        seed: Non-negative integer that decides the split.
        groups: Optional array of shape `(num_images,)`; images of one group are held out together.
        sample_weight: Optional, `(num_images,)` or `(num_images, K)`, non-negative.

    Returns:
        A `FindingsBaseline` named `"linear head on features"`.

    Raises:
        ValueError: For NaN, labels other than 0 and 1, or too few images to hold one out.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.baselines import fit_linear_head_findings

        features = np.random.default_rng(0).normal(size=(60, 4))
        head = fit_linear_head_findings(features, (features[:, :2] > 0).astype(int))
        print(head.thresholds)
        ```
    """
    rows = _checked(_flat(features))
    scale = np.maximum(rows.std(axis=0), 1e-3)
    return _fitted(
        "linear head on features",
        rows,
        labels,
        sample_weight,
        rows.mean(axis=0),
        scale,
        None,
        validation_fraction=validation_fraction,
        seed=seed,
        groups=groups,
    )


def _fitted(
    name: str,
    rows: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray | None,
    mean: np.ndarray,
    scale: np.ndarray | float,
    sampler: RBFSampler | None,
    *,
    validation_fraction: float,
    seed: int,
    groups: np.ndarray | None,
) -> FindingsBaseline:
    rows, labels = (rows - mean) / scale, np.asarray(labels)
    if sampler is not None:
        rows = sampler.transform(rows)
    train, held_out = split_validation(rows, labels, validation_fraction, seed, groups)
    weights = matrix_of(weight, labels.shape)
    how: dict[str, Any] = {
        "num_classes": labels.shape[1],
        "validation_split": validation_fraction,
        "seed": seed,
    }

    def fit(chosen: np.ndarray) -> MapFit:
        part = None if groups is None else np.asarray(groups)[chosen]
        return fit_logistic_regression(
            rows[chosen], labels[chosen], sample_weight=weights[chosen], groups=part, **how
        )

    tried = fit(train)
    guesses = 1 / (1 + np.exp(-(rows[held_out] @ tried.kernel.astype(float) + tried.bias)))
    loss = validation_score(guesses, labels[held_out], weights[held_out]).loss
    last = fit(np.arange(len(rows)))
    return FindingsBaseline(name, loss, np.asarray(last.thresholds), mean, scale, sampler, last)


def _flat(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    return images.reshape(len(images), -1).astype(np.float64)


def _checked(rows: np.ndarray) -> np.ndarray:
    if not np.isfinite(rows).all():
        raise ValueError(
            "Expected finite inputs. Received: NaN or infinity. Leave these images out."
        )
    return rows
