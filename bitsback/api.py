"""The Python interface: arrays in, bytes out, and back."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bitsback.archive.compressed import CompressedBytes
    from bitsback.archive.reader import LoadModel, Reader
    from bitsback.chunks.plan import Check
    from bitsback.coding.model import LoadedModel
    from bitsback.coding.rates import RateReport
    from bitsback.coding.reports.expected import Expected

    from .progress import Progress

DEFAULT_MODEL = "photo"


def load_model(
    name_or_folder: str | Path,
    device: str = "auto",
    engine: str = "auto",
    micro_batch: int | None = None,
    sha256: bytes = b"",
) -> "LoadedModel":
    """A shipped model by name, or one in a folder.

    Args:
        name_or_folder: the name of a model that ships, such as "photo", or a model folder.
        device: "auto", "cpu" or "cuda".
        engine: "torch"; "numpy", which needs no torch and gives the same bits, more slowly; or
            "auto": torch if it is installed.
        micro_batch: the most images that the network takes at once, however many a batch of the
            chain holds: less memory, the same bits. None for all of them.
        sha256: the first bytes of the digest of weights that once shipped under the name; today's
            weights if there are none such.

    Returns:
        The model, ready to code.

    Raises:
        ModelError: unknown, damaged, or not exact on this device.

    Examples:
        >>> model = load_model("omniglot", device="cpu")
        >>> model.name, model.channels, model.binary
        ('omniglot', 1, True)
    """
    from bitsback.models import store

    return store.load(str(name_or_folder), device, engine, micro_batch, sha256)


def load_named(
    name: str,
    sha256: bytes = b"",
    device: str = "auto",
    engine: str = "auto",
    micro_batch: int | None = None,
) -> "LoadedModel":
    """A shipped model by the name that a file gives; other arguments as of `load_model`.

    A file is not trusted with paths: a model in a folder comes from the caller.

    Raises:
        ModelError: no model of this name ships, or as `load_model`.
    """
    from bitsback.models import store

    store.check_shipped(name)
    return store.load(name, device, engine, micro_batch, sha256)


def as_model(model: "str | Path | LoadedModel") -> "LoadedModel":
    """The model itself, loaded if it is named."""
    return load_model(model) if isinstance(model, str | Path) else model


def compress(
    images: Any,
    model: "str | Path | LoadedModel" = DEFAULT_MODEL,
    payload: bytes = b"",
    *,
    batch: int | None = None,
    seed: int = 0,
    check: "Check" = "last",
    chunk: int | None = None,
    keep: str = "auto",
    recode_lossy: bool = False,
    times: bool = True,
    always_chain: bool = False,
    any_order: bool = False,
    side_information: bool = True,
    progress: "Progress | None" = None,
) -> "CompressedBytes":
    """Compress images losslessly.

    Args:
        images: an array of bool or of integers at most 16 bits apart, such as (N, H, W),
            (N, H, W, C), (N, C, H, W) or one image (see `bitsback.images.arrays.shapes`); or
            anything that `bitsback.data.read` takes: paths, Zarr arrays, data sets.
        model: name, folder, or what `load_model` gave.
        payload: bytes that lie at the bottom of the stack and come back from `payload_of`.
        batch: images per batch of the chain; the model's default if None.
        seed: of the dither.
        check: what of each chunk is decoded again before it is written: "last", its last batch;
            "all"; or "none".
        chunk: images per chunk, each decodable alone; if None about 4 MiB of pixels, 16 MiB of
            binary ones.
        keep: of files, "auto": byte for byte where that costs next to nothing, or the same samples
            and metadata; "samples": these are enough; "files": byte for byte.
        recode_lossy: whether JPEG, GIF and lossy WebP files become PNGs of what they decode to.
        times: whether the times of files, folders and members are kept.
        always_chain: code through the model even where a classical code is smaller, as it often is
            for a few hundred small images.
        any_order: whether the images of each chunk may come back in another order, which gives back
            log2(n!) bits (see `bitsback.chunks.order`): of arrays of small images alone. The arrays
            of an .npz that have an entry for each image follow them.
        side_information: whether weights of known neighbours and shifts of scales are sent with
            each batch where they save more than they take (see `bitsback.side`).
        progress: called with (values done, values in all): pixels times channels.

    Returns:
        The bytes of a file; their `model_share` is the share of the values that went through the
        model, and `report` says where every bit went.

    Raises:
        InputError: the images cannot be coded.
        ModelError: the model cannot be used, or what it coded does not decode.

    Examples:
        >>> images = np.zeros((3, 28, 28), np.uint8)
        >>> images[:, 4:24, 13:15] = 1  # three drawings of a stroke
        >>> data = compress(images, "omniglot")
        >>> len(data) < images.size / 8  # less than a bit a pixel
        True
        >>> np.array_equal(decompress(data), images)
        True
    """
    from bitsback.archive import writer
    from bitsback.archive.compressed import CompressedBytes
    from bitsback.chunks.plan import Settings
    from bitsback.coding.model import NO_MODEL
    from bitsback.keeping.rule import way
    from bitsback.sources.read import read

    found = read(images, way(keep, recode_lossy, times))
    done = writer.compress_set(
        found,
        as_model(model) if len(found.pixels) else NO_MODEL,
        Settings(
            batch,
            seed,
            always_chain=always_chain,
            check=check,
            any_order=any_order,
            predictor=side_information,
            recalibration=side_information,
        ),
        payload=payload,
        chunk=chunk,
        progress=progress,
    )
    return CompressedBytes(done.data, done.report)


def decompress(data: bytes, model: "str | Path | LoadedModel | None" = None) -> "NDArray[Any]":
    """The very array that `compress` was given; of files, their images stacked.

    Args:
        data: the bytes of a file.
        model: the model that wrote it, if it is not found by its name.

    Raises:
        FormatError: not a bitsback file, or a damaged one.
        ModelError: the model is missing, or not the one that wrote the file.

    Examples:
        >>> image = np.eye(28, dtype=np.uint8)
        >>> data = compress(image, "omniglot")
        >>> back = decompress(data)
        >>> back.shape, back.dtype, np.array_equal(back, image)
        ((28, 28), dtype('uint8'), True)
        >>> decompress(data[:-1])
        Traceback (most recent call last):
        bitsback.errors.FormatError: ...
    """
    from bitsback.images.parts import join

    reader = _reader(data, model)
    return join(reader.restored(), len(reader))


def payload_of(data: bytes, model: "str | Path | LoadedModel | None" = None) -> bytes:
    """The payload that `compress` was given; this decodes the first chunk.

    Raises:
        FormatError, ModelError: as `decompress`.

    Examples:
        >>> data = compress(np.eye(28, dtype=np.uint8), "omniglot", b"labels: 7")
        >>> payload_of(data)
        b'labels: 7'
    """
    return _reader(data, model).payload


def open(path: str | Path, model: "str | Path | LoadedModel | None" = None) -> "Reader":
    """A file as a sequence of images, of which only the chunks that are asked for are decoded.

    Args:
        path: of the compressed file.
        model: the model that wrote it, if it is not found by its name.

    Returns:
        A reader: `len(reader)`, `reader[i]`, `reader[i:j]`; close it, or use it in `with`.

    Raises:
        InputError: the file cannot be read.
        FormatError: not a bitsback file, or its header is damaged.

    Examples:
        >>> images = np.stack([np.eye(28, k=k, dtype=np.uint8) for k in range(4)])
        >>> _ = Path("diagonals.bb").write_bytes(compress(images, "omniglot", chunk=2))
        >>> with open("diagonals.bb") as reader:
        ...     len(reader), np.array_equal(reader[3], images[3])
        (4, True)
    """
    from bitsback.archive.reader import open_path

    return open_path(path, _finder(model))


def _reader(data: bytes, model: "str | Path | LoadedModel | None") -> "Reader":
    from bitsback.archive.reader import Reader
    from bitsback.errors import plain_bytes

    return Reader(io.BytesIO(plain_bytes(data, "data")), _finder(model))


def _finder(model: "str | Path | LoadedModel | None") -> "LoadModel":
    """How a reader finds its file's model, unless one is given."""
    if model is None:
        return load_named
    return lambda name, sha256: as_model(model)


def rate(
    images: Any,
    model: "str | Path | LoadedModel" = DEFAULT_MODEL,
    *,
    batch: int | None = None,
    seed: int = 0,
    chunk: int | None = None,
    any_order: bool = False,
    side_information: bool = False,
    expected: "Expected | Mapping[str, Any] | None" = None,
    progress: "Progress | None" = None,
) -> "RateReport":
    """Compress images through the model and say where every bit went; arguments as `compress`.

    Args:
        side_information: whether it is sent, too; the rate is then no longer the model's own.
        expected: bits that a float model's own ELBO promises, for the check to compare with:
            {"groups": [KL of each of the model's groups, in order], "likelihood": -log2 p(x | z)}.
            Each is an array of bits by image, (N,) or (samples, N); or a mean per image and its
            standard error, {"mean": ..., "standard_error": ...}. Each image must be one tile.

    Raises:
        InputError: as `compress`; or expected bits that do not fit the model and images.
        ModelError: as `compress`; or clipping to the tables costs more than 0.1 %.

    Warns:
        CoverageWarning: a share of 1e-6 or more lies beyond the tables.

    Examples:
        >>> images = np.stack([np.eye(28, k=k, dtype=np.uint8) for k in range(4)])
        >>> report = rate(images, "omniglot")
        >>> report.images, report.dims  # dims: sub-pixels of all of them
        (4, 3136)
        >>> report.check().passed  # the message grew by the KL-based rate
        True
    """
    from bitsback.archive import rates
    from bitsback.chunks.plan import Settings
    from bitsback.keeping.rule import PIXELS
    from bitsback.sources.read import read

    return rates.measure(
        read(images, PIXELS),
        as_model(model),
        Settings(
            batch,
            seed,
            always_chain=True,
            measure=True,
            any_order=any_order,
            predictor=side_information,
            recalibration=side_information,
        ),
        chunk=chunk,
        expected=expected,
        progress=progress,
    )


def lossy_encode(
    images: "NDArray[np.uint8]",
    model: "str | Path | LoadedModel | None" = None,
    *,
    steps: int | None = None,
    bits_per_dim: float | None = None,
    high: bool = False,
) -> bytes:
    """Store the latents of the first steps of an image, or of several of one size.

    Args:
        images: (H, W) or (H, W, 3) uint8, one image; (N, H, W, 1) or (N, H, W, 3), several.
        model: one whose posterior has a constant width; if None, the table's choice for the rate.
        steps: how many steps; all if neither this nor a rate is given.
        bits_per_dim: as many steps as fit into this rate, but one at least.
        high: of a two-layer model, the higher layer's latents only.

    Returns:
        The bytes of a lossy file.

    Raises:
        InputError: the images cannot be stored, or steps and a rate are both given.
        ModelError: the model's latents cannot be stored alone.

    Examples:
        >>> image = np.full((32, 32, 3), (40, 80, 160), np.uint8)
        >>> data = lossy_encode(image, bits_per_dim=0.5)
        >>> len(data) * 8 / image.size < 0.5
        True
        >>> lossy_decode(data).shape
        (1, 32, 32, 3)
    """
    from bitsback.images.image_set import from_array
    from bitsback.lossy import files

    stack = files.stacked(from_array(images), bare=True)
    loaded = as_model(model or files.default_model(bits_per_dim, stack.shape[3]))
    bare = np.ndim(images) == 4
    return files.encode(stack, loaded, steps, bits_per_dim, high, bare or len(stack) > 1).data


def lossy_decode(
    data: bytes,
    model: "str | Path | LoadedModel | None" = None,
    *,
    variance: float = 1.0,
    seed: int = 0,
) -> "NDArray[np.uint8]":
    """The images of a lossy file, the latents that it does not store drawn from their priors.

    Args:
        model: the one that wrote it, if it does not ship.
        variance: of what is drawn, in units of the priors'; 0 for the priors' means.
        seed: of what is drawn.

    Returns:
        (N, H, W, C) uint8.

    Raises:
        FormatError: not a lossy file, or a damaged one.
        ModelError: the model is missing, or not the one that wrote the file.

    Examples:
        >>> image = np.full((32, 32, 3), (40, 80, 160), np.uint8)
        >>> data = lossy_encode(image, bits_per_dim=0.5)
        >>> back = lossy_decode(data, variance=0.0)[0]
        >>> float(np.abs(back.astype(int) - image).mean()) < 10  # levels of 255
        True
    """
    from bitsback.errors import plain_bytes
    from bitsback.lossy import coder, files

    data = plain_bytes(data, "data")
    loaded = files.model_of(data, None, "auto", "auto") if model is None else as_model(model)
    return coder.decode(data, loaded, variance, seed)
