"""What was coded is decoded again before it is written: the original may be deleted after that.

A network that rounds is caught by `models.exact`; this catches a model of one's own whose numbers
differ the second time, and whatever else makes a file that does not decode.
"""

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import Message
from bitsback.coding import bits_back
from bitsback.coding.batch import Batch
from bitsback.coding.model import LoadedModel
from bitsback.errors import EmptyMessageError, FormatError, ModelError
from bitsback.format.header import NEWEST
from bitsback.images.image_set import ImageSet
from bitsback.tiles import padding

from .decoder import decode_chunk
from .plan import Settings


def check_batch(
    message: Message, before: Message, loaded: LoadedModel, batch: Batch, x: NDArray[np.uint8]
) -> None:
    """Decode a batch from the message that it was pushed onto.

    Args:
        message: after the push; changed.
        before: the message before it.
        x: what was pushed, (B, C, H, W) uint8.

    Raises:
        ModelError: the images or the message do not come back.
    """
    if batch.extents is not None:
        x = x.copy()
        padding.fill_passes(x, batch.extents, loaded.model.passes)
    try:
        found = bits_back.decode(message, loaded.model, batch)
    except (EmptyMessageError, ValueError) as error:
        raise differs(loaded) from error
    if not np.array_equal(found, x) or message != before:
        raise differs(loaded)


def comes_back(
    data: bytes,
    images: ImageSet,
    payload: bytes,
    loaded: LoadedModel,
    settings: Settings,
    number: int,
) -> bool:
    """Whether a chunk, decoded again, gives what was coded.

    Args:
        images, payload: what `data` must give.
        settings: of the file.
        number: of the chunk in its file.
    """
    count, seed = len(images.pixels), settings.seed
    try:
        found = decode_chunk(data, loaded, version=NEWEST, seed=seed, number=number, images=count)
    except FormatError:
        return False
    pairs = zip(found.images.pixels, images.pixels, strict=True)
    whole = found.payload == payload and found.images.packed == images.packed
    whole &= found.images.manifest.to_json() == images.manifest.to_json()
    return whole and all(np.array_equal(*pair) for pair in pairs)


def differs(loaded: LoadedModel) -> ModelError:
    """The error of a model whose chunk does not decode."""
    return ModelError(
        f"model {loaded.name!r} gives other numbers the second time: what it coded does not "
        "decode, and nothing is written"
    )
