"""Image data sets in Zarr: every chunk of an array of images is one bitsback file.

    zarr.create_array(store, data=images, chunks=(1000, 32, 32, 3), compressors=None,
                      serializer=BitsbackCodec("photo"))

`BitsbackCodec` is the codec of Zarr format 3, `BitsbackNumcodec` the compressor of format 2. Zarr
finds both through entry points by their name, "bitsback". An array's metadata hold the model's name
and the first digits of its weights' SHA-256, so that it opens with the weights that wrote it.
"""

import asyncio
import functools
import threading
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from bitsback.coding.model import check_weights

from .api import compress, decompress, load_model
from .errors import InputError

try:
    from numcodecs.abc import Codec
    from zarr.abc.codec import ArrayBytesCodec
except ImportError as error:
    raise InputError("Zarr arrays need zarr: pip install 'bitsback[zarr]'") from error

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

    from bitsback.coding.model import LoadedModel

NAME = "bitsback"
DIGITS = 16  # of the SHA-256, in hex
_loading = threading.Lock()


_given: set[str] = set()  # models that the caller has named in this process


@functools.cache
def _load(model: str, sha256: str) -> "LoadedModel":
    loaded = load_model(model, sha256=bytes.fromhex(sha256))
    check_weights(loaded, bytes.fromhex(sha256), "the array")
    return loaded


def model_of(model: str, sha256: str) -> "LoadedModel":
    """The model of an array's codec, loaded once by all threads.

    Raises:
        ModelError: it is missing, or has other weights.
    """
    with _loading:
        return _load(model, sha256)


def check_known(model: Any) -> None:
    """Raise ModelError unless a model that an array's metadata name ships, or the caller named it.

    Metadata are not trusted with paths: to open an array whose model lies in a folder, make a
    codec with that folder first.
    """
    from bitsback.models import store

    if model not in _given:
        store.check_shipped(str(model))


def digits_of(model: str, sha256: str) -> str:
    """The digits that a codec's configuration holds: those given, or of the model as it is now."""
    return sha256 or model_of(model, "").sha256.hex()[:DIGITS]


def encode(chunk: NDArray[Any], model: "LoadedModel") -> bytes:
    """A chunk of images as one bitsback file with a single chain.

    Args:
        chunk: of a dtype and shape that `bitsback.compress` takes.

    Raises:
        InputError: it is not of images: see `bitsback.compress`.
    """
    if not chunk.flags.c_contiguous:
        if chunk.flags.f_contiguous and chunk.ndim > 1:
            raise InputError("arrays of images must have order 'C'")
        chunk = np.ascontiguousarray(chunk)
    # No chunk of a file has more images than values.
    return compress(chunk, model, chunk=min(max(1, chunk.size), 2**32 - 1))


class BitsbackCodec(ArrayBytesCodec):
    """Codec of Zarr format 3, from arrays of images to bytes.

    Args:
        model: a shipped model's name, or a model folder.
        sha256: the first digits of its weights'; those of the model as it is now by default.

    Raises:
        ModelError: the model cannot be loaded.
    """

    is_fixed_size = False

    def __init__(self, model: str = "photo", sha256: str = "") -> None:
        self.model, self.sha256 = model, digits_of(model, sha256)
        _given.add(model)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BitsbackCodec) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.model, self.sha256))

    def __repr__(self) -> str:
        return f"BitsbackCodec(model={self.model!r}, sha256={self.sha256!r})"

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The codec of an array's metadata."""
        fields = data.get("configuration", {})
        if data.get("name") != NAME or not {"model", "sha256"} >= fields.keys():
            raise InputError(f"this is not the metadata of codec {NAME!r}")
        check_known(fields.get("model", "photo"))
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """What an array's metadata hold."""
        return {"name": NAME, "configuration": {"model": self.model, "sha256": self.sha256}}

    def validate(self, *, shape: Any, dtype: Any, chunk_grid: Any) -> None:
        """Refuse arrays that hold no images.

        Raises:
            InputError: their dtype is not bool or an integer of at most 16 bits, of which every
                value can be coded, or they have too few dimensions.
        """
        native = dtype.to_native_dtype()
        if native.kind not in "biu" or native.itemsize > 2 or len(shape) < 2:
            raise InputError(
                f"codec 'bitsback' takes bool and integers of 8 or 16 bits, of two axes or more, "
                f"not {native} of shape {tuple(shape)}: store a.view(np.uint8), the bytes, instead"
            )

    async def _encode_single(self, chunk_array: "NDBuffer", chunk_spec: "ArraySpec") -> "Buffer":
        images = chunk_array.as_numpy_array()
        model = await asyncio.to_thread(model_of, self.model, self.sha256)
        data = await asyncio.to_thread(encode, images, model)
        return chunk_spec.prototype.buffer.from_bytes(data)

    async def _decode_single(self, chunk_data: "Buffer", chunk_spec: "ArraySpec") -> "NDBuffer":
        model = await asyncio.to_thread(model_of, self.model, self.sha256)
        images = await asyncio.to_thread(decompress, chunk_data.to_bytes(), model)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(images.reshape(chunk_spec.shape))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: "ArraySpec") -> int:
        """Unknown before a chunk is coded."""
        raise NotImplementedError


class BitsbackNumcodec(Codec):  # type: ignore[misc]
    """Compressor of Zarr format 2, through numcodecs; arguments as of `BitsbackCodec`."""

    codec_id = NAME

    def __init__(self, model: str = "photo", sha256: str = "") -> None:
        self.model, self.sha256 = model, digits_of(model, sha256)
        _given.add(model)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The codec of an array's metadata."""
        check_known(config.get("model", "photo"))
        return cls(**config)

    def encode(self, buf: Any) -> bytes:
        """Compress an array of images.

        Raises:
            InputError: it is none.
        """
        return encode(np.asarray(buf), model_of(self.model, self.sha256))

    def decode(self, buf: Any, out: Any = None) -> NDArray[Any]:
        """The array that was compressed, also written into `out` if that is given."""
        images = decompress(bytes(memoryview(buf)), model_of(self.model, self.sha256))
        if out is not None:
            np.copyto(np.asarray(out).view(images.dtype).reshape(images.shape), images)
        return images
