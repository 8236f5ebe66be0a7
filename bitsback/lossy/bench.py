"""Rate against quality of ours and of its peers, at equal bytes.

At each rate our coder stores as many steps as fit, and the peers get as many bytes as it took.
Every image is stored once by itself, and once with up to 100 others: a mosaic for the peers, as in
the paper, and a bare set for ours.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError
from bitsback.tiles import mosaic

from . import coder
from .peers import Peer, peers
from .quality import Quality, measure

TOGETHER = 100


@dataclasses.dataclass(frozen=True)
class Row:
    """One codec at one rate.

    Args:
        form: "alone" or "together".
        name: of the codec.
        wanted: the rate asked for, bits/dim.
        reached: the rate of all bytes; None where the codec cannot be so small.
        quality: None in that case.
    """

    form: str
    name: str
    wanted: float
    reached: float | None
    quality: Quality | None

    def __str__(self) -> str:
        if self.quality is None:
            return f"{self.form:8} {self.wanted:5} {self.name}: cannot be so small"
        ms_ssim = self.quality.ms_ssim
        return (
            f"{self.form:8} {self.wanted:5} {self.name}: {self.reached:.4f} bits/dim, "
            f"{self.quality.psnr:.2f} dB, SSIMULACRA 2 {self.quality.ssimulacra2:.1f}"
            + ("" if ms_ssim is None else f", MS-SSIM {ms_ssim:.4f}")
        )


def run(
    images: NDArray[np.uint8],
    rates: Sequence[float],
    model_for: Callable[[float], LoadedModel],
    progress: Callable[[Row], None],
) -> list[Row]:
    """All rows.

    Args:
        images: (N, H, W, 3) uint8.
        rates: bits/dim.
        model_for: gives the model for a rate.
        progress: called with each row when it is there.

    Raises:
        InputError: the images have no colours, or a library is missing.
    """
    if images.shape[3] != 3:
        raise InputError("the peers are compared on colour images")
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        progress(row)

    for rate in rates:
        loaded = model_for(rate)
        coded = coder.analyse(images, loaded)
        for form in ("alone", "together"):
            data = _ours(form, rate, coded, images.shape[1:], loaded)
            size = sum(map(len, data))
            for variance in (0.0, 1.0):
                decoded = np.concatenate([coder.decode(d, loaded, variance) for d in data])
                name = f"{loaded.name}, variance {variance:.0f}"
                add(_row(form, name, rate, size, images, decoded))
            for peer in peers():
                recoded = recode(peer, images, size, 1 if form == "alone" else TOGETHER)
                if recoded is None:
                    add(Row(form, peer.name, rate, None, None))
                else:
                    add(_row(form, peer.name, rate, recoded[0], images, recoded[1]))
    return rows


def _ours(
    form: str,
    rate: float,
    coded: list[coder.Coded],
    shape: tuple[int, int, int],
    loaded: LoadedModel,
) -> list[bytes]:
    if form == "alone":
        return [coder.write_within(rate, [one], shape, loaded).data for one in coded]
    begins = range(0, len(coded), TOGETHER)
    sets = (coded[begin : begin + TOGETHER] for begin in begins)
    return [coder.write_within(rate, some, shape, loaded, bare=True).data for some in sets]


def recode(
    peer: Peer, images: NDArray[np.uint8], size: float, step: int
) -> tuple[int, NDArray[np.uint8]] | None:
    """A peer's bytes in all, and the images as it gives them back, `step` of them as one mosaic.

    Args:
        size: bytes that it may take in all; each mosaic gets its share.

    Returns:
        None where the peer cannot be so small.
    """
    decoded, total = [], 0
    for begin in range(0, len(images), step):
        some = images[begin : begin + step]
        code = peer.within(mosaic.join(some), size * len(some) / len(images))
        if code is None:
            return None
        total += len(code)
        decoded.append(mosaic.split(peer.decode(code), mosaic.shape_of(some)))
    return total, np.concatenate(decoded)


def _row(
    form: str,
    name: str,
    rate: float,
    size: int,
    images: NDArray[np.uint8],
    decoded: NDArray[np.uint8],
) -> Row:
    return Row(form, name, rate, 8 * size / images.size, measure(images, decoded))
