import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from dsray.models.convolution import convolve


@pytest.mark.parametrize(("groups", "side"), [(1, 1), (1, 3), (2, 3)])
def test_first_and_second_derivatives_are_those_of_finite_differences(groups, side):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, 2, dtype=torch.double, requires_grad=True)
    weight = torch.randn(4, 4 // groups, side, side, dtype=torch.double, requires_grad=True)
    torch.testing.assert_close(convolve(x, weight, groups), F.conv2d(x, weight, padding=side // 2, groups=groups))
    assert gradcheck(lambda *given: convolve(*given, groups), (x, weight))
    assert gradgradcheck(lambda *given: convolve(*given, groups), (x, weight))
