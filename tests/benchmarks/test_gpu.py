"""benchmarks: what `make bench-gpu` counts, says and does without a GPU."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from benchmarks import gpu_rates

WITHOUT_RAY = "import sys; sys.modules['ray'] = None; "


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_or_ray_it_says_so_in_a_sentence_and_the_rest_stands():
    code = WITHOUT_RAY + "sys.argv = ['gpu']; from benchmarks import gpu; sys.exit(gpu.main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (
        0,
        "There is no NVIDIA GPU here, so nothing was measured; the rest stands.\n",
    )


@pytest.mark.parametrize(("groups", "side"), [(1, 1), (1, 3), (4, 3)])
def test_a_convolution_costs_as_much_for_each_slope_as_forward(groups, side):
    x = torch.randn(2, 8, 5, 5, requires_grad=True)
    weight = torch.randn(12, 8 // groups, side, side, requires_grad=True)

    def convolved():
        return F.conv2d(x, weight, padding=side // 2, groups=groups)

    forward = 2 * 2 * 25 * weight.numel()
    assert gpu_rates.flops(convolved) == forward
    assert gpu_rates.flops(lambda: torch.autograd.grad(convolved().sum(), [weight])) == 2 * forward
    assert gpu_rates.flops(lambda: torch.autograd.grad(convolved().sum(), [x, weight])) == 3 * forward


def test_a_rate_is_of_the_steps_after_the_first():
    seen = []
    rate = gpu_rates.rate(seen.append, rows=7, seconds=0.0, device="cpu", warm=3)
    assert seen == [0, 1, 2, 3, 4] and rate > 0
