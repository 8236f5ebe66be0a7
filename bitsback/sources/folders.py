"""Files, in a folder or in a tar, as a set of images and of what travels as it is.

Every file is read once before any is coded, and the rule (see `bitsback.keeping.rule`) says what
becomes of it, so that an error is raised at once, not hours later. Each is read again when it is
coded, so that a set may be larger than the memory. A file whose pixels are not coded travels along
with the image that comes after it, or with the last one; where such files are large, as a chunk of
their own.
"""

import functools
import hashlib
import io
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from bitsback.errors import InputError
from bitsback.format import sidecar
from bitsback.images.image_file import HEAD_BYTES, check_metadata, looks_like_image
from bitsback.images.image_set import ImageArray, ImageSet
from bitsback.images.lazy import Lazy
from bitsback.images.manifest import FilesManifest, Kind
from bitsback.images.outcomes import Carried, Kept, Outcome
from bitsback.images.safe_names import is_safe, stored_name
from bitsback.keeping import rule
from bitsback.keeping.coded import Coded, NotKept
from bitsback.keeping.rule import Policy, Rule
from bitsback.progress import Progress, enter

from . import tree
from .entries import Facts, Sorted, SourceFile, refuse

_LONGEST_NAME = 255  # bytes of a part of a path
_LONGEST_IN_TAR = 98  # of a path in the field of a tar's header, "./" left out


def read_file(
    path: Path, policy: Policy = rule.DEFAULT, progress: Progress | None = None
) -> ImageSet:
    """One file; for progress see `read_entries`.

    Raises:
        InputError: it cannot be read.
    """
    refuse(_problems([path]))
    return read_entries("file", [_file_of(stored_name(path.name), path)], policy, progress=progress)


def read_files(
    paths: Sequence[Path], policy: Policy = rule.DEFAULT, progress: Progress | None = None
) -> ImageSet:
    """Files, under names relative to the folder that they have in common.

    Raises:
        InputError: some cannot be read; the sentence names them all. Names are unsafe, or one is
            given twice.
    """
    refuse(_problems(paths))
    absolute = [path.absolute() for path in paths]
    parent = os.path.commonpath([path.parent for path in absolute])
    named = [(_name(path, Path(parent)), path) for path in absolute]
    return read_entries("folder", [_file_of(*each) for each in named], policy, progress=progress)


def read_folder(
    folder: Path, policy: Policy = rule.DEFAULT, progress: Progress | None = None
) -> ImageSet:
    """The files in a folder and all below it, sorted by name.

    Raises:
        InputError: there are none, or some cannot be read; the sentence names them all.
    """
    paths, folders, problems = _all_below(folder)
    links = [path for path in paths if tree.is_kept_link(path, folder)]
    named = sorted((_name(path, folder), path) for path in set(paths) - set(links))
    refuse(sorted([*problems, *_problems([path for _, path in named])]))
    if not paths and not folders:
        raise InputError(f"{folder} is empty")
    below = [(_name(path, folder), path) for path in folders]
    _checked_names("folder", [name for name, _ in below])
    beside = tree.read([path for _, path in named], below, links, folder, policy.times)
    entries = [_file_of(*each) for each in named]
    return read_entries("folder", entries, policy, beside=beside, progress=progress)


def _name(path: Path, root: Path) -> str:
    return stored_name(path.relative_to(root).as_posix())


def _all_below(folder: Path) -> tuple[list[Path], list[Path], list[str]]:
    """All files below a folder, with links; all folders; and a sentence for each one closed."""
    errors: list[OSError] = []
    paths: list[Path] = []
    below: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=errors.append):
        every = [Path(parent, name) for name in folders]
        links = [path for path in every if os.path.islink(path)]
        paths += [*(Path(parent, name) for name in names), *links]
        below += [path for path in every if path not in links]
    return paths, below, [f"{error.filename} cannot be read: {error.strerror}" for error in errors]


def _problems(paths: Iterable[Path]) -> list[str]:
    """A sentence for each of the paths that is no file, or cannot be opened."""
    found = list[str]()
    for path in paths:
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                found.append(f"{path} is neither a file nor a folder, or a link to a folder")
                continue
            with path.open("rb"):
                pass
        except FileNotFoundError:
            lack = "is a link to what does not exist" if path.is_symlink() else "does not exist"
            found.append(f"{path} {lack}")
        except OSError as error:
            found.append(f"{path} cannot be read: {error.strerror}")
    return found


def _file_of(name: str, path: Path) -> SourceFile:
    def opened() -> BinaryIO:
        try:
            return path.open("rb")
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error

    try:
        size = path.stat().st_size
    except OSError:  # opening it says why
        size = 0
    return SourceFile(name, opened, size)


def read_entries(
    kind: Kind,
    entries: Iterable[SourceFile],
    policy: Policy = rule.DEFAULT,
    ending: bytes | None = None,
    beside: tree.Tree | None = None,
    progress: Progress | None = None,
) -> ImageSet:
    """Files as a set: the pixels of those that come back from them, and the others as they are.

    Args:
        ending: of a tar, the bytes after its last member.
        beside: of a folder, what it has beside its files' contents.
        progress: called with (bytes read, bytes in all).

    Raises:
        InputError: files cannot be read; the sentence names them all. Names are unsafe, or one is
            given twice.
    """
    every = list(entries)
    taken = _checked_names(kind, [entry.name for entry in every])
    the_rule, files = Rule(policy), Sorted()
    carried, problems = list[Carried](), list[str]()
    if beside is not None:
        packed = tree.pack(beside)
        files.add_other(SourceFile("", io.BytesIO, len(packed), packed, sidecar.TREE))
    done, total = 0, sum(entry.size for entry in every)
    enter(progress, "reading")
    for entry in every:
        if progress is not None:
            progress(done, total)
        done += entry.size
        try:
            reason = ""
            with entry.open() as file:
                head = file.read(HEAD_BYTES)
            if looks_like_image(head, entry.name) or head.startswith(np.lib.format.MAGIC_PREFIX):
                files.add_image(_facts(entry, the_rule, taken))
                continue
        except NotKept as error:
            reason = str(error)
        except InputError as error:
            problems.append(str(error))
            continue
        except OSError as error:
            problems.append(f"{entry.name} cannot be read: {error.strerror}")
            continue
        carried.append(Carried(entry.name, reason))
        files.add_other(entry)
    refuse(problems)
    if ending is not None:
        files.add_other(SourceFile("", io.BytesIO, len(ending), ending))
    files.end()
    return _set_of(kind, files, the_rule, tuple(carried))


def _facts(entry: SourceFile, the_rule: Rule, taken: set[str]) -> Facts:
    """The facts of an image; its target is added to the names that are `taken`.

    Raises:
        NotKept: it travels as it is.
        InputError: it cannot be read.
    """
    data = entry.read()
    coded = the_rule.examine(data)
    target = entry.name
    if coded.outcome is Outcome.RECODED and not the_rule.policy.pixels_only:
        if entry.header is not None and any(entry.header[-512:-412]):
            raise NotKept("has a name that cannot change in its tar")
        target = _free_name(entry.name, taken, entry.header is not None)
        _check_recoded(coded)
    taken.add(target.casefold())
    height, width, channels = coded.levels.shape
    binary = coded.mode == "1" or (coded.mode in ("L", "P") and bool(coded.levels.max() <= 1))
    return Facts(
        entry,
        target,
        coded.mode,
        (height, width, channels),
        binary,
        coded.outcome,
        coded.hint,
        hashlib.sha256(data).digest(),
        bool(coded.records) or coded.levels.itemsize > 1,
    )


def _check_recoded(coded: Coded) -> None:
    try:
        check_metadata(coded.mode, coded.records, ".png")
    except InputError as error:
        raise NotKept(str(error)) from error


def _set_of(kind: Kind, files: Sorted, the_rule: Rule, carried: tuple[Carried, ...]) -> ImageSet:
    """A set of files, each of which is read again when it is coded."""
    every = files.images
    binary = all(each.binary for each in every)

    def read(number: int) -> tuple[ImageArray, bytes, bytes]:
        facts = every[number]
        data = facts.entry.read()
        if hashlib.sha256(data).digest() != facts.sha256:
            raise InputError(f"{facts.entry.name} changed while it was read")
        image = the_rule.again(data, facts.outcome, facts.hint)
        pixels = image.pixels * np.uint8(255) if image.mode == "1" and not binary else image.pixels
        beside = sidecar.pack([*files.neighbours(number), *image.sidecar])
        return pixels, beside, b"" if facts.outcome is Outcome.RECODED else data

    @functools.lru_cache(maxsize=1)  # pixels, sidecars and files of a range are asked for in turn
    def read_range(begin: int, end: int) -> list[tuple[ImageArray, bytes, bytes]]:
        return [read(number) for number in range(begin, end)]

    images = Lazy(len(every), lambda begin, end: [each[0] for each in read_range(begin, end)])
    sidecars = Lazy(len(every), lambda begin, end: [each[1] for each in read_range(begin, end)])
    originals = Lazy(len(every), lambda begin, end: [each[2] for each in read_range(begin, end)])
    manifest = FilesManifest(
        kind,
        tuple(each.target for each in every),
        tuple(each.mode for each in every),
        tuple(each.shape for each in every),
    )
    may_carry = the_rule.policy.keep != "samples" and not the_rule.policy.pixels_only
    marks = [entry for run in files.others for entry in run if not entry.name]
    is_new = bool(marks or files.blocks) or any(
        each.outcome is not Outcome.RECODED or each.entry.header is not None for each in every
    )
    has_sidecars = any(files.others) or any(
        each.has_sidecar or each.entry.header is not None for each in every
    )
    return ImageSet(
        images,
        binary,
        manifest,
        sidecars=sidecars if has_sidecars else None,
        kept=Kept(tuple(each.outcome for each in every), carried),
        blocks=tuple(files.blocks),
        is_new=is_new,
        originals=originals if may_carry else None,
    )


def _checked_names(kind: Kind, names: Sequence[str]) -> set[str]:
    """The names, folded, under which nothing else can be written.

    Raises:
        InputError: one is given twice, or is unsafe.
    """
    if len(set(names)) != len(names):
        raise InputError("the same image file is given twice")
    for name in names if kind != "file" else ():
        if not is_safe(name.removeprefix("./") if kind == "tar" else name):
            raise InputError(f"{name!r} cannot be stored as a file name; rename it")
    return {name.casefold() for name in names}


def _free_name(name: str, taken: set[str], in_tar: bool) -> str:
    """A name that ends in .png and is not yet taken.

    Raises:
        NotKept: it would be too long.
    """
    path = PurePosixPath(name)
    tries = [path.with_suffix(".png"), path.with_name(f"{path.name}.png")]
    tries += [path.with_name(f"{path.name}.{i}.png") for i in range(1, len(taken) + 1)]
    free = next(path for path in tries if str(path).casefold() not in taken)
    longest = _LONGEST_IN_TAR if in_tar else _LONGEST_NAME
    if len((str(free) if in_tar else free.name).encode(errors="surrogateescape")) > longest:
        raise NotKept("has a name that cannot end in .png, too")
    return f"./{free}" if name.startswith("./") else str(free)
