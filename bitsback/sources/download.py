"""Public data sets as .npz files, from those who publish them, checked by size and SHA-256.

Of a file, no more bytes are taken than were published. The files that are fetched are kept in a
cache folder (`pooch.os_cache`); nothing in them is executed.
"""

import contextlib
import dataclasses
import gzip
import logging
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bitsback.errors import BitsbackError, InputError

from .atomic_files import atomic_write

_log = logging.getLogger(__name__)

Arrays = dict[str, NDArray[np.uint8]]
_CIFAR_RECORD = 1 + 3 * 32 * 32
_SECONDS, _PIECE = 30, 1 << 16  # without an answer; bytes at once


@dataclasses.dataclass(frozen=True)
class File:
    """A file as it was published: its size in bytes, and its SHA-256 in hex."""

    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set that is published.

    Args:
        urls: addresses of the files' folder, each with a slash at its end, tried in turn.
        files: by name.
        read: makes arrays of the files, given their paths by name.
    """

    urls: tuple[str, ...]
    files: dict[str, File]
    read: Callable[[dict[str, Path]], Arrays]


def _idx(path: Path) -> NDArray[np.uint8]:
    """The array of bytes in an IDX file (Yann LeCun's format), compressed with gzip."""
    data = gzip.decompress(path.read_bytes())
    if data[:3] != b"\0\0\x08":
        raise InputError(f"{path} is not an IDX file of bytes")
    shape = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def _mnist(files: dict[str, Path]) -> Arrays:
    return {
        "train": _idx(files["train-images-idx3-ubyte.gz"]),
        "train_labels": _idx(files["train-labels-idx1-ubyte.gz"]),
        "test": _idx(files["t10k-images-idx3-ubyte.gz"]),
        "test_labels": _idx(files["t10k-labels-idx1-ubyte.gz"]),
    }


def _cifar10(files: dict[str, Path]) -> Arrays:
    parts: dict[str, list[NDArray[np.uint8]]] = {"train": [], "test": []}
    with tarfile.open(files["cifar-10-binary.tar.gz"]) as archive:
        members = {Path(member.name).name: member for member in archive if member.isfile()}
        names = [("train", f"data_batch_{i}.bin") for i in range(1, 6)]
        for part, name in [*names, ("test", "test_batch.bin")]:
            file = archive.extractfile(members[name])
            assert file is not None  # a directory has none
            parts[part].append(np.frombuffer(file.read(), np.uint8).reshape(-1, _CIFAR_RECORD))
    arrays: Arrays = {}
    for part, records in parts.items():
        joined = np.concatenate(records)
        planes = joined[:, 1:].reshape(-1, 3, 32, 32)
        arrays[part] = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
        arrays[f"{part}_labels"] = joined[:, 0].copy()
    return arrays


def _omniglot(files: dict[str, Path]) -> Arrays:
    """The drawings, (N, 105, 105), 1 where there is ink, in the order of their names."""
    arrays: Arrays = {}
    for part in ("background", "evaluation"):
        drawings = []
        with zipfile.ZipFile(files[f"images_{part}.zip"]) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".png") and not name.startswith("__"):
                    with archive.open(name) as file, Image.open(file) as image:
                        drawings.append(np.asarray(image.convert("L")) < 128)
        arrays[part] = np.stack(drawings).astype(np.uint8)
    return arrays


SOURCES = {
    "mnist": Source(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        {
            "train-images-idx3-ubyte.gz": File(
                9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
            ),
            "train-labels-idx1-ubyte.gz": File(
                28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
            ),
            "t10k-images-idx3-ubyte.gz": File(
                1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
            ),
            "t10k-labels-idx1-ubyte.gz": File(
                4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
            ),
        },
        _mnist,
    ),
    "cifar10": Source(
        ("https://www.cs.toronto.edu/~kriz/",),
        {
            "cifar-10-binary.tar.gz": File(
                170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
            )
        },
        _cifar10,
    ),
    "omniglot": Source(
        ("https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",),
        {
            "images_background.zip": File(
                9_464_212, "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640"
            ),
            "images_evaluation.zip": File(
                6_462_886, "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee"
            ),
        },
        _omniglot,
    ),
}


def download(name: str, output: Path, cache: Path | None = None) -> Arrays:
    """Fetch a data set, check it, and write its arrays as an .npz.

    Args:
        name: "mnist", "cifar10" or "omniglot".
        output: the .npz.
        cache: where fetched files are kept; the system's cache folder if None.

    Raises:
        InputError: there is no such data set, pooch is missing, no server gives the files, or what
            they give is larger or has another SHA-256.
    """
    try:
        import pooch
    except ImportError as error:
        raise InputError("downloads need pooch: pip install 'bitsback[data]'") from error
    if name not in SOURCES:
        raise InputError(f"there is no data set {name!r}: {', '.join(SOURCES)}")
    source, files = SOURCES[name], {}
    folder = pooch.os_cache("bitsback") if cache is None else cache
    with _silent(pooch.get_logger()):
        for file, published in source.files.items():
            files[file] = _fetched(pooch.retrieve, source.urls, file, published, folder / name)
    arrays = source.read(files)
    atomic_write(output, lambda file: np.savez_compressed(file, **arrays))  # type: ignore[arg-type]
    return arrays


@contextlib.contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    """Within it, a logger tells of problems only."""
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _fetched(
    retrieve: Callable[..., str], urls: tuple[str, ...], name: str, file: File, folder: Path
) -> Path:
    """Where a file lies once one of the servers has given it.

    Raises:
        InputError: none gives it as it was published; the sentence says of each server why.
    """
    problems = []
    for url in urls:
        try:
            path = Path(
                retrieve(
                    url + name,
                    f"sha256:{file.sha256}",
                    fname=name,
                    path=folder,
                    downloader=Limited(file.size),
                )
            )
            _log.info(
                "%s: %d bytes, SHA-256 right, of %s, kept in %s", name, file.size, url, folder
            )
            return path
        except (BitsbackError, OSError, ValueError) as error:  # requests raises OSError
            problems.append(f"{urlsplit(url).hostname} {_reason(error)}")
    raise InputError(f"{name} cannot be fetched: {'; '.join(problems)}")


@dataclasses.dataclass(frozen=True)
class Limited:
    """Fetches a file of at most so many bytes; as pooch calls a downloader."""

    size: int

    def __call__(self, url: str, output: str, _: object) -> None:
        """Write what the server gives to a file.

        Raises:
            InputError: the server says, or gives, that it is more.
            OSError: the server gives nothing.
        """
        import requests

        with (
            requests.get(url, timeout=_SECONDS, stream=True) as response,
            open(output, "wb") as file,
        ):
            response.raise_for_status()
            left, declared = self.size, response.headers.get("content-length", "")
            if declared.isdecimal() and int(declared) > left:
                raise InputError(self._too_large)
            for piece in response.iter_content(_PIECE):
                left -= len(piece)
                if left < 0:
                    raise InputError(self._too_large)
                file.write(piece)

    @property
    def _too_large(self) -> str:
        return f"gives more than the {self.size} bytes that were published"


def _reason(error: Exception) -> str:
    """Why a server did not give a file, in some words."""
    import requests

    match error:
        case BitsbackError():
            return str(error)
        case requests.HTTPError() if error.response is not None:
            return f"answers {error.response.status_code} {error.response.reason}"
        case requests.Timeout():
            return f"does not answer within {_SECONDS} s"
        case requests.RequestException():
            return "cannot be reached, or ends the connection"
        case ValueError():
            return "gives a file with another SHA-256"
        case OSError():
            return f"is asked, but the file cannot be written: {error.strerror or error}"
    raise error
