"""The small network that judges images: trained from nothing in seconds, the same for the same seed.

It measures usefulness by its accuracy, and its last layer but one gives the features for distances. Such features
come from the data itself, not from ImageNet: their Fréchet distance is not FID.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dsray import rng

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

STEPS = 400
BATCH = 64
RATE = 3e-3
WIDTH = 16
FEATURES = 64

_EVALUATE = 256  # rows at a time


class Classifier(nn.Module):
    """[B, C, H, W] in [-1, 1] → class logits [B, K]; any side from 8 up."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, WIDTH, 5, 2, 2, bias=False),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            nn.Conv2d(WIDTH, 2 * WIDTH, 3, 2, 1, bias=False),
            nn.BatchNorm2d(2 * WIDTH),
            nn.ReLU(),
            nn.Conv2d(2 * WIDTH, 2 * WIDTH, 3, 1, 1, bias=False),
            nn.BatchNorm2d(2 * WIDTH),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(32 * WIDTH, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))  # type: ignore[no-any-return]  # nn.Module is untyped


def fit(images_NHWC: Images, labels_N: Labels, classes: int, seed: int, steps: int | None = None) -> Classifier:
    """A classifier after a fixed number of steps, STEPS if nothing is said, whatever the number of rows: what is
    compared has equal budgets. Rows of a negative label are not learned from."""
    steps = steps or STEPS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Classifier(images_NHWC.shape[3], classes)
    labels = torch.from_numpy(np.asarray(labels_N, np.int64))
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    known_M = np.flatnonzero(np.asarray(labels_N) >= 0)
    order = known_M[_order(len(known_M), seed, steps)]
    net.train()
    for step in range(steps):
        rows = order[step * BATCH : (step + 1) * BATCH]
        loss = F.cross_entropy(net(_scaled(_tensor(images_NHWC[rows]))), labels[rows], label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return net.eval()


def restored(weights: Mapping[str, Tensor]) -> Classifier:
    """A classifier from its `state_dict`."""
    net = Classifier(weights["body.0.weight"].shape[1], len(weights["head.bias"]))
    net.load_state_dict(weights)
    return net.eval()


def accuracy(net: Classifier, images_NHWC: Images, labels_N: Labels) -> float:
    """The share of rows whose class is found, in [0, 1]."""
    return float((logits(net, images_NHWC).argmax(1) == labels_N).mean())


@torch.no_grad()
def logits(net: Classifier, images_NHWC: Images) -> NDArray[np.float64]:
    """[N, K]: log odds of the classes up to a constant a row."""
    return np.concatenate([net(x).double().numpy() for x in _batches(images_NHWC)])


@torch.no_grad()
def features(net: Classifier, images_NHWC: Images) -> NDArray[np.float64]:
    """[N, 64] activations of the last layer but one."""
    return np.concatenate([net.body(x).double().numpy() for x in _batches(images_NHWC)])


def doubt(net: Classifier, images_NHWC: Images, labels_N: Labels) -> NDArray[np.float64]:
    """[N]: -log p(label), the higher the less sure the network is of an image's label (least confidence: Lewis & Gale,
    1994, arXiv:cmp-lg/9407020); -inf where it finds another one."""
    odds_NK = logits(net, images_NHWC)
    own_N = odds_NK[np.arange(len(labels_N)), labels_N]
    return np.where(odds_NK.argmax(1) == labels_N, np.logaddexp.reduce(odds_NK, 1) - own_N, -np.inf)


def _batches(images_NHWC: Images) -> list[Tensor]:
    images = _tensor(images_NHWC)
    return [_scaled(part) for part in torch.split(images, _EVALUATE)]


def _order(count: int, seed: int, steps: int) -> NDArray[np.int64]:
    epochs = -(-steps * BATCH // count)
    return np.concatenate([rng.permutation(seed, "classifier", count, epoch) for epoch in range(epochs)])


def _tensor(images_NHWC: Images) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images_NHWC.transpose(0, 3, 1, 2)))


def _scaled(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1.0
