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


def test_it_learns_for_as_many_steps_as_are_asked(digits, monkeypatch):
    (images, labels), _ = digits
    asked = classifier.fit(images, labels, 10, seed=1, steps=7)
    monkeypatch.setattr(classifier, "STEPS", 7)
    default = classifier.fit(images, labels, 10, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(asked.parameters(), default.parameters(), strict=True))
    monkeypatch.setattr(classifier, "STEPS", 8)
    longer = classifier.fit(images, labels, 10, seed=1)
    assert not all(torch.equal(a, b) for a, b in zip(asked.parameters(), longer.parameters(), strict=True))


def test_doubt_is_minus_the_log_of_its_own_classs_probability(digits):
    (images, labels), _ = digits
    net = classifier.restored(classifier.fit(images, labels, 10, seed=1, steps=30).state_dict())
    odds = torch.from_numpy(classifier.logits(net, images))
    loss = torch.nn.functional.cross_entropy(odds, torch.from_numpy(labels), reduction="none").numpy()
    doubt = classifier.doubt(net, images, labels)
    found = odds.argmax(1).numpy() == labels
    assert 0 < found.sum() < len(labels)
    np.testing.assert_allclose(doubt[found], loss[found])
    assert np.isneginf(doubt[~found]).all()


def test_rows_of_a_negative_label_teach_nothing(digits):
    (images, labels), _ = digits
    some = classifier.fit(images[::2], labels[::2], 10, seed=1, steps=9)
    hidden = np.where(np.arange(len(labels)) % 2, -1, labels)
    whole = classifier.fit(images, hidden, 10, seed=1, steps=9)
    assert all(torch.equal(a, b) for a, b in zip(some.parameters(), whole.parameters(), strict=True))


def test_a_restored_classifier_judges_alike(digits):
    (images, labels), _ = digits
    net = classifier.fit(images, labels, 10, seed=1, steps=30)
    assert np.array_equal(
        classifier.logits(classifier.restored(net.state_dict()), images), classifier.logits(net, images)
    )


def test_any_number_of_rows_sides_and_channels(monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 20)
    random = np.random.default_rng(0)
    for rows, side, channels in ((1, 28, 1), (5, 9, 3), (300, 32, 3)):
        images = random.integers(0, 256, (rows, side, side, channels)).astype(np.uint8)
        net = classifier.fit(images, np.zeros(rows, np.int64), 2, seed=0)
        assert classifier.accuracy(net, images, np.zeros(rows, np.int64)) == 1.0
