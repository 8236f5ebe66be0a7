"""A module of floats, part by part, as a module of integers."""

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils import parametrize

from bitsback.errors import ModelError

from .. import machine
from . import elementwise, grid
from .affine import ENGINES, Affine

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
# They give numbers of their inputs, zeros, sums of two, or the larger ones: exact as they are.
_KEPT: tuple[type[nn.Module], ...] = (
    *(nn.Flatten, nn.Unflatten, nn.Identity, nn.ReLU, nn.ReLU6, nn.MaxPool2d),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
    *(nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.UpsamplingNearest2d),
    *(nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d),
)
_LAYERS: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)

Turn = Callable[[Any, str], nn.Module]
_TURNS: dict[type[nn.Module], Turn] = {
    nn.ELU: lambda m, said: elementwise.Table("elu", said, float(m.alpha)),
    nn.Sigmoid: lambda m, said: elementwise.Table("sigmoid", said),
    nn.Tanh: lambda m, said: elementwise.Table("tanh", said),
    nn.SiLU: lambda m, said: elementwise.Table("silu", said),
    nn.GELU: lambda m, said: elementwise.Table(
        "gelu by tanh" if m.approximate == "tanh" else "gelu", said
    ),
    nn.Softplus: lambda m, said: elementwise.Table("softplus", said, float(m.beta)),
    nn.LeakyReLU: lambda m, said: elementwise.of_slope(m.negative_slope, said),
    nn.PReLU: lambda m, said: elementwise.of_slope(m.weight, said),
    nn.BatchNorm1d: elementwise.of_batch_norm,
    nn.BatchNorm2d: elementwise.of_batch_norm,
    nn.AvgPool2d: lambda m, said: elementwise.Average(m, said),
}


def quantise(module: nn.Module, engine: str = "torch") -> nn.Module:
    """A copy of a module that computes in integers, on every machine the same.

    Turned are Linear, Conv2d, ConvTranspose2d, BatchNorm1d and 2d, AvgPool2d, and the activations
    ELU, Sigmoid, Tanh, SiLU, GELU, Softplus, LeakyReLU and PReLU. ReLU, ReLU6, MaxPool2d, Flatten,
    Unflatten, Identity, dropout, PixelShuffle, padding and nearest Upsample are exact as they are.
    A layer's sums stay below 2**24, in which float32 counts, whatever the order. Parameters that a
    module of the user's own has are rounded to 2**-16.

    Args:
        module: in evaluation mode; it stays as it is.
        engine: "torch", sums in float32, proven; or "numpy", in int64: slow, the same numbers.

    Returns:
        A module of the same structure and classes. It gives multiples of 2**-16 in float64, and
        takes these and sums and halves of them; `adapt(exact=True)` does the rest.

    Raises:
        ModelError: the module is in training mode, or a part cannot be turned: one sentence names
            all such parts.
    """
    if engine not in ENGINES:
        raise ModelError(f"unknown engine {engine!r}: torch or numpy")
    machine.check_evaluated(module)
    if wrong := [said for name, part in module.named_modules() if (said := _refused(name, part))]:
        raise ModelError(f"what cannot be turned into integers: {', '.join(wrong)}")
    whole = copy.deepcopy(module).double()
    whole.requires_grad_(False)
    return _turned(whole, "", engine, {}).eval()


def _said(name: str, module: nn.Module) -> str:
    return f"{name or 'the module'} ({type(module).__name__})"


def _is(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether a module is one of torch's kinds, with torch's own forward."""
    return any(
        isinstance(module, kind)
        and type(module).forward is kind.forward
        and getattr(type(module), "_conv_forward", None) is getattr(kind, "_conv_forward", None)
        for kind in kinds
    )


def _refused(name: str, module: nn.Module) -> str:
    """Why a part cannot be turned, or nothing."""
    said = _said(name, module)
    if "parametrizations" in name.split("."):
        return ""  # the module that has them is named
    if any(torch.nn.parameter.is_lazy(p) for p in module.parameters(recurse=False)):
        return f"{said} that has seen no input yet"
    if parametrize.is_parametrized(module):
        return f"{said} with parametrizations (remove_parametrizations leaves plain weights)"
    if module._forward_hooks or module._forward_pre_hooks:
        return f"{said} with hooks (remove_weight_norm leaves plain weights)"
    if _is(module, (nn.Upsample,)):
        return "" if module.mode == "nearest" else f"{said} that is not nearest"
    if _is(module, (nn.Softplus,)) and cast(float, module.beta) < 1:
        return f"{said} with a beta below 1"
    if _is(module, (nn.AvgPool2d,)) and (
        module.ceil_mode or (module.padding not in (0, (0, 0)) and not module.count_include_pad)
    ):
        return f"{said} whose windows differ in size"
    if _is(module, (*_CONTAINERS, *_KEPT, *_LAYERS, *_TURNS)):
        return ""
    own = [kind for kind in (*_KEPT, *_LAYERS, *_TURNS) if isinstance(module, kind)]
    if own:
        return f"{said}, a {own[-1].__name__} with a forward of its own"
    return said if type(module).__module__.startswith("torch.") else ""


def _turned(module: nn.Module, name: str, engine: str, done: dict[int, nn.Module]) -> nn.Module:
    if id(module) not in done:
        done[id(module)] = _turn(module, name, engine, done)
    return done[id(module)]


def _turn(module: nn.Module, name: str, engine: str, done: dict[int, nn.Module]) -> nn.Module:
    said = _said(name, module)
    if _is(module, _LAYERS):
        return Affine(module, said, engine)
    for kind, turn in _TURNS.items():
        if _is(module, (kind,)):
            return turn(module, said)
    for values in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        if values.is_floating_point():
            values.data = grid.rounded(values.data)
    # A part that has two names is turned under both.
    for child, part in list(module.named_modules(remove_duplicate=False)):
        if child and "." not in child:
            setattr(module, child, _turned(part, f"{name}.{child}".lstrip("."), engine, done))
    return module
