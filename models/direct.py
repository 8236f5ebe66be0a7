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
    matmul = torch.backends.cuda.matmul
    allowed, matmul.allow_tf32 = matmul.allow_tf32, False
    try:
        with torch.backends.cudnn.flags(enabled=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        matmul.allow_tf32 = allowed
