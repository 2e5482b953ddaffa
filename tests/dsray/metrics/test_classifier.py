import numpy as np
import torch

from dsray.metrics import classifier


def test_it_learns_real_digits_and_is_the_same_for_the_same_seed(digits):
    (images, labels), test = digits
    net = classifier.fit(images, labels, 10, seed=1)
    assert classifier.accuracy(net, *test) > 0.9
    torch.manual_seed(99)
    again = classifier.fit(images, labels, 10, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    guess = classifier.logits(net, images).argmax(1)
    assert classifier.accuracy(net, images, labels) == (guess == labels).mean()
    made = classifier.features(net, images)
    assert made.shape == (len(images), classifier.FEATURES) and made.dtype == np.float64
    np.testing.assert_allclose(made[:7], classifier.features(net, images[:7]), rtol=1e-4, atol=1e-4)


def test_any_number_of_rows_sides_and_channels(monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 20)
    random = np.random.default_rng(0)
    for rows, side, channels in ((1, 28, 1), (5, 9, 3), (300, 32, 3)):
        images = random.integers(0, 256, (rows, side, side, channels)).astype(np.uint8)
        net = classifier.fit(images, np.zeros(rows, np.int64), 2, seed=0)
        assert classifier.accuracy(net, images, np.zeros(rows, np.int64)) == 1.0
