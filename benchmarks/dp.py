"""What a classifier learns from private digits: `merf quick`, ε = 10, MNIST's 60,000, within 10 minutes on the CPU.

The accuracy is that of `dsray.metrics.utility` on the 10,000 test digits. ε is what our accountant says of the model's
noise, beside Opacus' two for the same mechanism; neither may say more than was promised, but for the bounds of theirs.
"""

import statistics
import sys
import time
import warnings

import numpy as np

from benchmarks import protocol
from benchmarks.mnist import mnist

ACCURACY = 0.90
MOST_S = 600.0
ROWS = 10_000
CLASSIFIERS = 3


def main() -> int:
    quick = protocol.quick(__doc__)
    try:
        images, labels, test, test_labels = mnist()
    except FileNotFoundError as error:
        print(f"MNIST is not there: {error.filename}.", file=sys.stderr)
        return 2
    import torch

    from dsray.metrics import utility
    from dsray.models import draw, loop, merf
    from dsray.models.privacy import epsilon_of

    torch.set_num_threads(2)
    config = merf.Config(**{**vars(merf.PRESETS["quick"]), **({"images": 2400} if quick else {})})
    start = time.perf_counter()
    weights = loop.train(merf.start(config, images, labels, 10, 0, "cpu"))
    seconds = time.perf_counter() - start
    digits = np.arange(ROWS) % 10
    made = draw.sample(merf, config, weights, digits, np.arange(ROWS), 0, "cpu")
    seeds = range(1 if quick else CLASSIFIERS)
    found = [utility.accuracy(made, digits, test, test_labels, 10, seed) for seed in seeds]
    accuracy, deviation = statistics.mean(found), statistics.pstdev(found)

    sigma, delta = (float(weights[f"private.{name}"]) for name in ("sigma", "delta"))
    epsilon = epsilon_of(sigma, delta)
    print(f"ε {epsilon:.3f} by our accountant{by_opacus(sigma, delta)}, at δ {delta:g}, σ {sigma:.4f}, all rows, once")
    told = f"after {seconds:.0f} s of training, ε {epsilon:.2f}"
    print(f"{accuracy:.4f} ± {deviation:.4f} of the test digits found {told}")
    held = seconds <= MOST_S and epsilon <= config.epsilon * (1 + 1e-9)
    return max(protocol.verdict("dp", accuracy, ACCURACY, accuracy / ACCURACY, 1.0, "accuracy"), int(not held))


def by_opacus(sigma: float, delta: float) -> str:
    """What Opacus' accountants say of one Gaussian mechanism on all rows; nothing where Opacus is not installed."""
    try:
        from opacus.accountants import PRVAccountant, RDPAccountant
    except ImportError:
        return " (Opacus is not installed: `pip install 'dsray[dp]'`)"
    prv, rdp = PRVAccountant(), RDPAccountant()
    prv.history = rdp.history = [(sigma, 1.0, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return f", {prv.get_epsilon(delta, eps_error=0.001):.3f} by Opacus' PRV and {rdp.get_epsilon(delta):.3f} by RDP"


if __name__ == "__main__":
    sys.exit(main())
