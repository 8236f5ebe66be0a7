"""Which stored names are safe to write under, on any system."""

import os
import re


def is_safe(name: str) -> bool:
    """Whether a relative name, with forward slashes, stays inside the folder it is put in."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
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
