"""Names of files as an archive stores them, and which of them are safe to write under."""

import os
import re


def stored_name(local: str) -> str:
    """The name that an archive stores for a name on this system: the same in every locale.

    Which characters Python gives for the bytes of a name depends on the locale. A stored name has
    those of UTF-8, and a lone surrogate for each byte that is not UTF-8.
    """
    return os.fsencode(local).decode("utf-8", "surrogateescape")


def local_name(stored: str) -> str:
    """Inverse of `stored_name`.

    Raises:
        UnicodeError: no file on this system can have the name.
    """
    return os.fsdecode(stored.encode("utf-8", "surrogateescape"))


def is_safe(name: str) -> bool:
    """Whether a relative name, with forward slashes, stays inside the folder it is put in."""
    try:
        local_name(name)
    except UnicodeError:
        return False
    # Backslashes and drive letters matter on Windows only, but a file is decoded anywhere.
    return not any(
        part in ("", ".", "..") or "\\" in part or "\0" in part or re.match("[A-Za-z]:", part)
        for part in name.split("/")
    )


def is_safe_link(name: str, target: str) -> bool:
    """Whether a link of a safe name leads to a place in the folder that it is put in.

    Steps up must come first: behind another link they could lead anywhere.
    """
    parts = target.split("/")
    up = 0
    while up < len(parts) and parts[up] == "..":
        up += 1
    rest = "/".join(parts[up:])
    return up <= name.count("/") and (is_safe(rest) or (rest == "" and up > 0))


def plain(text: str) -> str:
    """Text on one line, for a terminal or a log: what it would not print is escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
