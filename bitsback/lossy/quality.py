"""How near an image is to another: PSNR, MS-SSIM, and what eyes would say of it.

SSIMULACRA 2 stands for the eyes: its few dozen weights were fitted to people's ratings of
compressed images. They lie in its source, whereas LPIPS and DISTS need networks to be downloaded,
and it takes images from 8 x 8 pixels on. A score of 100 means no difference, 70 high quality and 30
low; the score has no lower bound.

Source: Wang, Simoncelli and Bovik (2003), MS-SSIM; Sneyers (2022), SSIMULACRA 2.
"""

import dataclasses
import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bitsback.errors import InputError
from bitsback.tiles import mosaic

LEAST_SIDE = 161  # of MS-SSIM: windows of 11 on five scales


@dataclasses.dataclass(frozen=True)
class Quality:
    """Means over images, but for the PSNR.

    Args:
        psnr: of the mean squared error of all images, dB.
        ms_ssim: up to 1; of images smaller than 161 pixels that of a mosaic of them; None where
            that is so small, too.
        ssimulacra2: up to 100.
    """

    psnr: float
    ms_ssim: float | None
    ssimulacra2: float


def measure(originals: NDArray[np.uint8], others: NDArray[np.uint8]) -> Quality:
    """The quality of images, compared with their originals.

    Args:
        originals, others: (N, H, W, C) uint8.

    Raises:
        InputError: the metrics' libraries are not installed.
    """
    try:
        import pytorch_msssim
        import torch
        from ssimulacra2 import compute_ssimulacra2
    except ImportError as error:
        raise InputError(
            "quality is measured with pytorch-msssim and ssimulacra2: pip install 'bitsback[bench]'"
        ) from error
    error_of = originals.astype(np.float64) - others
    mse = float(np.square(error_of).mean())
    structural, pair = None, (originals, others)
    if min(originals.shape[1:3]) < LEAST_SIDE:
        pair = (mosaic.join(originals)[None], mosaic.join(others)[None])
    if min(pair[0].shape[1:3]) >= LEAST_SIDE:
        planes = (
            tuple(torch.from_numpy(x[None].transpose(0, 3, 1, 2).astype(np.float32)) for x in two)
            for two in zip(*pair, strict=True)
        )
        similarities = [float(pytorch_msssim.ms_ssim(*two, data_range=255)) for two in planes]
        structural = float(np.mean(similarities))
    seen = [compute_ssimulacra2(_file(a), _file(b)) for a, b in zip(originals, others, strict=True)]
    return Quality(10 * math.log10(255**2 / max(mse, 1e-10)), structural, float(np.mean(seen)))


def _file(image: NDArray[np.uint8]) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(np.repeat(image, 3 // image.shape[2], 2)).save(file, "BMP")
    return file
