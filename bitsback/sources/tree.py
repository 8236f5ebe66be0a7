"""What a folder has beside its files' contents: modes, times, empty folders, links.

It travels in the folder's first sidecar as a JSON object:

    modes    of the files, in the order of the set, as runs [count, mode]; lowest 9 bits
    times    of modification of the files, ns: the first, then differences; absent if not kept
    folders  [name, mode, time] of each folder below the root; without the time if not kept
    links    [name, target] of each link inside the folder
    link_times  of the links themselves, ns, in that order; absent if not kept, and from the first
             files of version 5
    root     [mode, time] of the folder itself, or [mode]; absent from the first files of version 5

A link to a place outside is no link here: the file that it leads to was read. Files that are hard
links of one another come back as files of their own. Extended attributes and ACLs are not kept.
"""

import itertools
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitsback.errors import FormatError
from bitsback.images.safe_names import is_safe, is_safe_link, local_name, stored_name

#: that are kept: no set-user-ID and the like
PERMISSIONS = 0o777
_DAMAGED = "what the file says of its folder is damaged"
_LATEST = 1 << 63  # ns
_MOST_FILES = 1 << 24


@dataclass(frozen=True)
class Folder:
    """A folder; its time is None if it is not kept. The root's name is ""."""

    name: str
    mode: int
    time: int | None


@dataclass(frozen=True)
class Tree:
    """What a folder has beside its files' contents.

    Args:
        modes: of the files, in order.
        times: of modification of the files, ns; empty if they are not kept.
        folders: in the order of their names.
        links: names and targets.
        link_times: of the links themselves, ns; empty if they are not kept.
        root: the folder itself, if it is known.
    """

    modes: tuple[int, ...]
    times: tuple[int, ...]
    folders: tuple[Folder, ...]
    links: tuple[tuple[str, str], ...]
    root: Folder | None = None
    link_times: tuple[int, ...] = ()


def read(
    files: Sequence[Path],
    folders: Sequence[tuple[str, Path]],
    links: Sequence[Path],
    root: Path,
    times: bool,
) -> Tree:
    """The tree of a folder.

    Args:
        files: in the order of the set.
        folders: below the root, with their names.
        links: that are kept as links.
        times: whether times are kept.

    Raises:
        OSError: one is gone.
    """
    stats = [path.stat() for path in files]
    ordered = sorted(links, key=lambda path: _link(path, root))

    def folder_of(name: str, path: Path) -> Folder:
        stat = path.stat()
        return Folder(name, stat.st_mode & PERMISSIONS, stat.st_mtime_ns if times else None)

    return Tree(
        tuple(stat.st_mode & PERMISSIONS for stat in stats),
        tuple(stat.st_mtime_ns for stat in stats) if times else (),
        tuple(folder_of(*each) for each in sorted(folders)),
        tuple(_link(path, root) for path in ordered),
        folder_of("", root),
        tuple(path.lstat().st_mtime_ns for path in ordered) if times else (),
    )


def _link(path: Path, root: Path) -> tuple[str, str]:
    """Name and target of a link."""
    return stored_name(path.relative_to(root).as_posix()), stored_name(os.readlink(path))


def is_kept_link(path: Path, root: Path) -> bool:
    """Whether a path is a link that leads to a place inside its folder, if to nothing there."""
    if not os.path.islink(path):
        return False
    inside = Path(os.path.realpath(root))
    leads_inside = Path(os.path.realpath(path)).is_relative_to(inside)
    return leads_inside and is_safe_link(*_link(path, root))


def pack(tree: Tree) -> bytes:
    """A tree as bytes."""
    fields: dict[str, Any] = {
        "modes": [[len(list(run)), mode] for mode, run in itertools.groupby(tree.modes)],
        "folders": [[each.name, *_facts(each)] for each in tree.folders],
        "links": [list(link) for link in tree.links],
    }
    if tree.times:
        fields["times"] = [b - a for a, b in itertools.pairwise((0, *tree.times))]
    if tree.link_times:
        fields["link_times"] = list(tree.link_times)
    if tree.root is not None:
        fields["root"] = _facts(tree.root)
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def _facts(folder: Folder) -> list[int]:
    return [folder.mode, *([] if folder.time is None else [folder.time])]


def unpack(data: bytes) -> Tree:
    """Inverse of `pack`.

    Raises:
        FormatError: damaged, or with names or links that lead out of the folder.
    """
    try:
        fields = json.loads(data.decode("ascii"))
        runs = [(_number(count), _number(mode)) for count, mode in fields["modes"]]
        if sum(count for count, _ in runs) > _MOST_FILES or any(count < 1 for count, _ in runs):
            raise FormatError(_DAMAGED)
        modes = tuple(mode & PERMISSIONS for count, mode in runs for _ in range(count))
        times = tuple(itertools.accumulate(map(_number, fields.get("times", []))))
        folders = tuple(_folder(_name(name), *facts) for name, *facts in fields["folders"])
        root = _folder("", *fields["root"]) if "root" in fields else None
        links = tuple((_name(name), str(target)) for name, target in fields["links"])
        of_links = tuple(map(_number, fields.get("link_times", [])))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(_DAMAGED) from error
    if of_links and len(of_links) != len(links):
        raise FormatError(_DAMAGED)
    every = (*times, *of_links, *(each.time or 0 for each in (*folders, *([root] if root else []))))
    if any(not -_LATEST < time < _LATEST for time in every):
        raise FormatError(_DAMAGED)
    if any(not is_safe_link(*link) for link in links):
        raise FormatError("the file stores a link that leads out of its folder")
    return Tree(modes, times, folders, links, root, of_links)


def _folder(name: str, mode: object, time: object = None) -> Folder:
    return Folder(name, _number(mode) & PERMISSIONS, None if time is None else _number(time))


def _number(value: object) -> int:
    if type(value) is not int:
        raise FormatError(_DAMAGED)
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not is_safe(value):
        raise FormatError(f"the file stores an unsafe name, {value!r}; nothing was written")
    return value


def write(tree: Tree, files: Sequence[tuple[int, Path]], root: Path) -> None:
    """Make a tree of a folder into which files were written.

    Links come last but for times, so that nothing is written through one.

    Args:
        files: with their numbers in the set, as far as these are known.

    Raises:
        FormatError: it is of other files, or its names are those of files.
    """
    if any(not 0 <= number < len(tree.modes) for number, _ in files):
        raise FormatError(_DAMAGED)
    made: list[Path] = []
    try:
        for folder in tree.folders:
            root.joinpath(local_name(folder.name)).mkdir(parents=True, exist_ok=True)
        for name, target in ((local_name(n), local_name(to)) for n, to in tree.links):
            link = root.joinpath(name)
            link.parent.mkdir(parents=True, exist_ok=True)
            if link.parent.resolve() != root.resolve().joinpath(name).parent:
                raise FormatError("the file stores a link behind a link; nothing was written")
            link.symlink_to(target)
            made.append(link)
    except (FileExistsError, NotADirectoryError) as error:
        raise FormatError(_DAMAGED) from error
    for number, path in files:
        stamp(tree, number, path)
    for link, time in zip(made, tree.link_times, strict=False):
        set_time(link, time)
    of_root = [] if tree.root is None else [tree.root]
    for folder in [*sorted(tree.folders, key=lambda each: -each.name.count("/")), *of_root]:
        path = root.joinpath(local_name(folder.name))
        path.chmod(folder.mode)
        if folder.time is not None:
            set_time(path, folder.time)


def stamp(tree: Tree, number: int, path: Path) -> None:
    """Give a file the mode and the time of this number in the set."""
    path.chmod(tree.modes[number])
    if number < len(tree.times):
        set_time(path, tree.times[number])


def set_time(path: Path, time: int) -> None:
    """Set a time of modification, ns."""
    with suppress(OverflowError):  # a file system that knows no such times
        os.utime(path, ns=(time, time), follow_symlinks=False)
