"""MobileNetV2 and ILM-VP's training step in PyTorch, for `beside_pytorch.py`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

# Of `keras.applications.MobileNetV2`.
EPSILON = 1e-3
# Blocks that halve the height and width.
HALVING = (1, 3, 6, 13)

Weights = Mapping[str, list[np.ndarray]]


class MobileNetV2(nn.Module):
    """`keras.applications.MobileNetV2` of any width, frozen.

    Args:
        weights: name of a Keras layer -> its weights, in Keras's order.

    Input shape:
        `(n, 3, H, W)`, pixels in [-1, 1], even sizes.

    Output shape:
        `(n, labels)` logits.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        stem = _convolution(weights, "Conv1", "bn_Conv1", stride=2)
        blocks = [_Block(weights, "expanded_conv", stride=1)]
        blocks += [
            _Block(weights, f"block_{i}", 2 if i in (1, 3, 6, 13) else 1) for i in range(1, 17)
        ]
        head = _convolution(weights, "Conv_1", "Conv_1_bn")
        self.features = nn.Sequential(stem, nn.ReLU6(), *blocks, head, nn.ReLU6())
        kernel, bias = weights["predictions"]
        self.classifier = nn.Linear(*kernel.shape)
        self.classifier.load_state_dict(_state(weight=kernel.T, bias=bias))
        self.eval().requires_grad_(False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(pixels).mean(dim=(2, 3)))


class _Block(nn.Module):
    """An inverted residual block."""

    def __init__(self, weights: Weights, name: str, stride: int) -> None:
        super().__init__()
        layers = []
        if f"{name}_expand" in weights:
            layers += [_convolution(weights, f"{name}_expand", f"{name}_expand_BN"), nn.ReLU6()]
        depthwise = f"{name}_depthwise"
        layers += [_convolution(weights, depthwise, f"{depthwise}_BN", stride=stride), nn.ReLU6()]
        layers += [_convolution(weights, f"{name}_project", f"{name}_project_BN")]
        self.layers = nn.Sequential(*layers)
        first = weights.get(f"{name}_expand", weights[depthwise])[0]
        self.adds = stride == 1 and first.shape[2] == weights[f"{name}_project"][0].shape[3]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer = self.layers(images)
        return images + answer if self.adds else answer


def _convolution(weights: Weights, name: str, norm: str, stride: int = 1) -> nn.Sequential:
    """A convolution with Keras's padding, and its BatchNorm."""
    (kernel,) = weights[name]
    depthwise = name.endswith("depthwise")
    # (h, w, in, out) or (h, w, channels, 1) to (out, in a group, h, w).
    kernel = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)
    outputs, inputs, size, _ = kernel.shape
    convolution = nn.Conv2d(
        inputs * outputs if depthwise else inputs,
        outputs,
        size,
        stride,
        padding=0 if stride == 2 else size // 2,
        groups=outputs if depthwise else 1,
        bias=False,
    )
    convolution.load_state_dict(_state(weight=kernel))
    gamma, beta, mean, variance = weights[norm]
    batch_norm = nn.BatchNorm2d(outputs, eps=EPSILON)
    state = _state(weight=gamma, bias=beta, running_mean=mean, running_var=variance)
    batch_norm.load_state_dict(state | {"num_batches_tracked": torch.tensor(0)})
    # Keras pads even sizes below and on the right only.
    padding = [nn.ZeroPad2d((0, 1, 0, 1))] if stride == 2 else []
    return nn.Sequential(*padding, convolution, batch_norm)


def _state(**arrays: np.ndarray) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


class ILMVP:
    """Visual prompting as Chen et al. (2023) train it: `pad(x) + sigmoid(W) * M`, W = 0 at first.

    Each class is scored by the logit of one source label; cross-entropy, Adam at 0.01 on W. The
    labels are chosen again by `renew_labels`, from answers of the last epoch.

    Args:
        network: takes pixels in [-1, 1].
        image_size: side of the target images.
        canvas_size: side of the network's images.
        labels: the source label of each class.
    """

    def __init__(
        self, network: nn.Module, image_size: int, canvas_size: int, labels: np.ndarray
    ) -> None:
        self.network = network
        before = (canvas_size - image_size) // 2
        after = canvas_size - image_size - before
        self.padding = (before, after, before, after)
        self.mask = functional.pad(torch.zeros(3, image_size, image_size), self.padding, value=1.0)
        self.program = nn.Parameter(torch.zeros(3, canvas_size, canvas_size))
        self.optimizer = torch.optim.Adam([self.program], lr=0.01)
        self.labels = torch.from_numpy(labels)

    def source_images(self, images: torch.Tensor) -> torch.Tensor:
        """Target images `(n, 3, h, w)` in [0, 1] under the program, `(n, 3, H, W)` in [-1, 1]."""
        padded = functional.pad(images, self.padding)
        return 2.0 * (padded + torch.sigmoid(self.program) * self.mask) - 1.0

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One step of Adam: the loss before it, and the source labels that came first."""
        self.optimizer.zero_grad()
        logits = self.network(self.source_images(images))
        loss = functional.cross_entropy(logits[:, self.labels], labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach(), logits.detach().argmax(dim=1)

    def renew_labels(self, first: np.ndarray, labels: np.ndarray, num_labels: int) -> None:
        """Chooses each class's source label again, from the labels that came first."""
        found = frequent_labels(first, labels, num_labels, len(self.labels))
        self.labels = torch.from_numpy(found)


def frequent_labels(
    first: np.ndarray, labels: np.ndarray, num_labels: int, num_classes: int
) -> np.ndarray:
    """The label of each class: the most frequent pair of both first, each label and class once."""
    counts = np.zeros((num_labels, num_classes), np.int64)
    np.add.at(counts, (first, labels), 1)
    found = np.zeros(num_classes, np.int64)
    for _ in range(num_classes):
        label, chosen = np.unravel_index(counts.argmax(), counts.shape)
        found[chosen] = label
        counts[label], counts[:, chosen] = -1, -1
    return found
