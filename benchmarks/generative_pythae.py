"""pythae's VAE on MNIST, in its environment: `python -m benchmarks.generative_pythae OUT SECONDS SEED THREADS ROWS`.

Its ResNet for MNIST, its trainer and its samplers. It knows no classes: one VAE is trained for each digit, a tenth of
the seconds each. Writes images of each sampler [digits, rows a digit, 28, 28], the seconds and the images trained on.
Fitting its samplers, to at most ROWS rows a digit, is not
counted as training.
"""

import contextlib
import io
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.nn.benchmarks.mnist import Decoder_ResNet_AE_MNIST, Encoder_ResNet_VAE_MNIST
from pythae.samplers import (
    GaussianMixtureSampler,
    GaussianMixtureSamplerConfig,
    NormalSampler,
    TwoStageVAESampler,
    TwoStageVAESamplerConfig,
)
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback

from benchmarks.mnist import mnist

ROWS = 500  # a digit
BATCH = 64
RATE = 1e-3
MIXTURE = 10  # components
SECOND_EPOCHS = 5  # of the two-stage sampler
SECOND_WIDTH = 256


class TimeUp(Exception):
    pass


class Clock(TrainingCallback):
    """Ends the training when its seconds are over. They begin after the first step, which imports much."""

    def __init__(self, seconds):
        self.seconds, self.used_s, self.images, self.start = seconds, 0.0, 0, None

    def on_train_step_end(self, training_config, **kwargs):
        now = time.perf_counter()
        self.start = self.start or now
        self.images, self.used_s = self.images + BATCH, now - self.start
        if self.used_s >= self.seconds:
            raise TimeUp


def trained(images, seed, seconds, folder):
    """A VAE after `seconds` of training, and the clock that ended it."""
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=16, reconstruction_loss="bce")
    torch.manual_seed(seed)
    model = VAE(config, Encoder_ResNet_VAE_MNIST(config), Decoder_ResNet_AE_MNIST(config))
    clock = Clock(seconds)
    how = BaseTrainerConfig(
        output_dir=folder, num_epochs=10_000, per_device_train_batch_size=BATCH, learning_rate=RATE, seed=seed
    )
    trainer = BaseTrainer(model, BaseDataset(images, torch.ones(len(images))), training_config=how, callbacks=[clock])
    with contextlib.suppress(TimeUp):
        trainer.train()
    return model.eval(), clock


def samplers(model, folder):
    """pythae's quick samplers by name, not fitted."""
    return {
        "normal": NormalSampler(model),
        "mixture": GaussianMixtureSampler(model, GaussianMixtureSamplerConfig(n_components=MIXTURE)),
        "two stages": TwoStageVAESampler(model, TwoStageVAESamplerConfig(second_layers_dim=SECOND_WIDTH)),
    }


def main() -> None:
    out, seconds = Path(sys.argv[1]), float(sys.argv[2])
    seed, threads, fitted = (int(argument) for argument in sys.argv[3:])
    torch.set_num_threads(threads)
    logging.disable(logging.INFO)
    images_NHWC, labels_N, _, _ = mnist()
    images_NCHW = torch.from_numpy(images_NHWC.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    made, spent, seen = {}, 0.0, 0
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        for digit in range(10):
            mine = images_NCHW[torch.from_numpy(labels_N == digit)]
            model, clock = trained(mine, seed, seconds / 10, folder)
            spent, seen = spent + clock.used_s, seen + clock.images
            how = BaseTrainerConfig(output_dir=folder, num_epochs=SECOND_EPOCHS, learning_rate=RATE, seed=seed)
            np.random.seed(seed)  # its mixture draws from NumPy's global generator
            for name, sampler in samplers(model, folder).items():
                if name != "normal":
                    sampler.fit(mine[:fitted], **({"training_config": how} if name == "two stages" else {}))
                rows = sampler.sample(ROWS)[:, 0].clamp(0, 1).mul(255).round().byte().numpy()
                made.setdefault(name, []).append(rows)
    unfinished = out.with_suffix(f".{os.getpid()}.npz")
    np.savez_compressed(unfinished, seconds=spent, images=seen, **{name: np.stack(rows) for name, rows in made.items()})
    unfinished.replace(out)


if __name__ == "__main__":
    main()
