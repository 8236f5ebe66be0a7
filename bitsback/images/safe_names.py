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
