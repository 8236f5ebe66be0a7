"""Files of a compressed folder or tar as a file system that is read-only: `bb://a.bb/name.png`.

Opening a file decodes the chunks that lead to it; listing decodes all, once.
Source: https://filesystem-spec.readthedocs.io/en/latest/developer.html
"""

import io
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.spec import AbstractFileSystem

from bitsback import api
from bitsback.archive import members
from bitsback.archive.reader import Reader
from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError


class BitsbackFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """The file system of protocol "bb"; model: of files whose model does not ship."""

    protocol = "bb"
    cachable = False

    def __init__(self, model: "str | Path | LoadedModel | None" = None, **storage: Any) -> None:
        super().__init__(**storage)
        self._model = model
        self._readers: dict[str, Reader] = {}
        self._listed: dict[str, dict[str, members.Listed]] = {}

    def __del__(self) -> None:
        for reader in self._readers.values():
            reader.close()

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Files and folders right below a path."""
        (archive, inside), found = self._split(path), dict[str, dict[str, Any]]()
        for name, file in self._files(archive).items():
            rest = _below(name, inside)
            if rest is None:
                continue
            first, *more = rest.split("/")
            full = "/".join(part for part in (archive, inside, first) if part)
            kind, size = ("directory", 0) if more else ("file", file.size)
            found[full] = {"name": full, "type": kind, "size": size}
        if not found:
            raise FileNotFoundError(path)
        return list(found.values()) if detail else sorted(found)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name and type of a path; the size of an image's file is None, since it is not made."""
        archive, inside = self._split(path)
        files = self._files(archive)
        name = f"{archive}/{inside}".rstrip("/")
        if inside in files:
            return {"name": name, "type": "file", "size": files[inside].size}
        if any(_below(each, inside) is not None for each in files):
            return {"name": name, "type": "directory", "size": 0}
        raise FileNotFoundError(path)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        if mode != "rb":
            raise NotImplementedError("compressed files are read alone")
        archive, inside = self._split(path)
        try:
            found = list(members.find(self._reader(archive), [inside], lambda _: None))
        except InputError as error:
            raise FileNotFoundError(path) from error
        if [each.name.removeprefix("./") for each in found] != [inside]:
            raise IsADirectoryError(path)
        return io.BytesIO(found[0].content)

    def _split(self, path: str) -> tuple[str, str]:
        """The compressed file's path, and the name inside it."""
        parts = PurePosixPath(self._strip_protocol(path)).parts
        for count, part in enumerate(parts, 1):
            archive = str(PurePosixPath(*parts[:count]))
            if part.endswith(".bb") and Path(archive).is_file():
                return archive, "/".join(parts[count:])
        raise FileNotFoundError(path)

    def _reader(self, archive: str) -> Reader:
        if archive not in self._readers:
            self._readers[archive] = api.open(archive, self._model)
        return self._readers[archive]

    def _files(self, archive: str) -> dict[str, members.Listed]:
        if archive not in self._listed:
            every = members.listed(self._reader(archive))
            self._listed[archive] = {each.name.removeprefix("./"): each for each in every}
        return self._listed[archive]


def _below(name: str, folder: str) -> str | None:
    """The rest of a name below a folder; "" if it is the name itself; None if it lies elsewhere."""
    if not folder or name == folder:
        return "" if folder else name
    return name.removeprefix(f"{folder}/") if name.startswith(f"{folder}/") else None
