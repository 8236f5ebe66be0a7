"""Convolutions on CUDA that add products of the numbers they were given, and of no others."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def direct() -> Iterator[None]:
    """Within it, convolutions are matrix products in full precision.

    cuDNN chooses an algorithm anew for every shape, Winograd's and FFT among them, which transform
    their input and round; that one shape gives the known answer says nothing of the next. Without
    cuDNN torch gathers windows and multiplies matrices, from whose inputs TF32 would cut digits.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    name: str
    strict: bool | str
    try:
        name, strict, before = "allow_tf32", False, matmul.allow_tf32
    except RuntimeError:  # torch has two settings for it, and the other one is in use
        name, strict, before = "fp32_precision", "ieee", matmul.fp32_precision
    enabled = cudnn.enabled
    try:
        cudnn.enabled = False
        setattr(matmul, name, strict)
        yield
    finally:
        setattr(matmul, name, before)
        cudnn.enabled = enabled
