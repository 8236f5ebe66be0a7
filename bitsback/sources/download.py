"""Public data sets as .npz files, from those who publish them, checked by their hash.

The files that are fetched are kept in a cache folder (`pooch.os_cache`); nothing in them is
executed.
"""

import dataclasses
import gzip
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bitsback.errors import BitsbackError, InputError

from .atomic_files import atomic_write

Arrays = dict[str, NDArray[np.uint8]]
_CIFAR_RECORD = 1 + 3 * 32 * 32


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set that is published.

    Args:
        urls: addresses of the files' folder, each with a slash at its end, tried in turn.
        files: their MD5, in hex, by name.
        read: makes arrays of the files, given their paths by name.
    """

    urls: tuple[str, ...]
    files: dict[str, str]
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
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        _mnist,
    ),
    "cifar10": Source(
        ("https://www.cs.toronto.edu/~kriz/",),
        {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"},
        _cifar10,
    ),
    "omniglot": Source(
        ("https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",),
        {
            "images_background.zip": "68d2efa1b9178cc56df9314c21c6e718",
            "images_evaluation.zip": "6b91aef0f799c5bb55b94e3f2daec811",
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
            they give has another hash.
    """
    try:
        import pooch
    except ImportError as error:
        raise InputError("downloads need pooch: pip install 'bitsback[data]'") from error
    if name not in SOURCES:
        raise InputError(f"there is no data set {name!r}: {', '.join(SOURCES)}")
    source, files = SOURCES[name], {}
    folder = pooch.os_cache("bitsback") if cache is None else cache
    for file, md5 in source.files.items():
        files[file] = _fetched(pooch.retrieve, source.urls, file, md5, folder / name)
    arrays = source.read(files)
    atomic_write(output, lambda file: np.savez_compressed(file, **arrays))  # type: ignore[arg-type]
    return arrays


def _fetched(
    retrieve: Callable[..., str], urls: tuple[str, ...], file: str, md5: str, folder: Path
) -> Path:
    problem: Exception = BitsbackError("no address is known")
    for url in urls:
        try:
            return Path(retrieve(url + file, f"md5:{md5}", fname=file, path=folder))
        # The network raises many kinds; a ValueError is a file with another hash.
        except Exception as error:
            problem = error
    raise InputError(f"{file} cannot be fetched from {urls[-1]}: {problem}") from problem
