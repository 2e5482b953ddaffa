import pytest
import torch
from torch import nn

from dsray.models import losses
from dsray.models.gan import Discriminator, GanConfig
from dsray.models.slopes import PLAIN, Held, Slopes, Trace


def critic(shape=(12, 12, 1)):
    torch.manual_seed(0)
    net = Discriminator(GanConfig(images=1, width=16, blocks=2, embedding=4), shape, 3).double()
    for p in net.parameters():  # no block is the identity any more, no bias is 0
        p.data = torch.randn_like(p) * 0.3
    return net


@pytest.mark.parametrize("shape", [(12, 12, 1), (30, 17, 3)])
def test_it_is_the_gradient_of_automatic_differentiation_twice(shape):
    net, class_B = critic(shape), torch.tensor([0, 2, 1, 1, 0])
    images = torch.randn(5, shape[2], *shape[:2], dtype=torch.float64, requires_grad=True)
    loss_B = torch.randn(5, dtype=torch.float64)
    found = Slopes(lambda x, how: net(x, class_B, how), images)
    logits_B = net(images, class_B)
    penalty_B = losses.gradient_penalty(logits_B, images)
    torch.testing.assert_close(found.logits_B, logits_B)
    torch.testing.assert_close(found.images_BCHW.square().sum((1, 2, 3)), penalty_B)
    expected = torch.autograd.grad((loss_B * logits_B).sum() + 0.7 / 2 * penalty_B.sum(), list(net.parameters()))
    torch.testing.assert_close(found.gradient(net.parameters(), loss_B, 0.7), list(expected))


def test_a_layer_that_is_not_known_to_be_linear_is_refused():
    with pytest.raises(TypeError, match="Tanh is not known"):
        Held(Trace(), torch.ones(2)).linear(nn.Tanh(), torch.ones(2, 3))


def test_a_pass_that_is_traced_is_a_plain_one():
    net, images, class_B = critic(), torch.randn(2, 1, 12, 12, dtype=torch.float64), torch.tensor([0, 1])
    assert torch.equal(net(images, class_B, Trace()), net(images, class_B, PLAIN))
