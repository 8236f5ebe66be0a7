"""Which outputs a command may write: no input of its own, and nothing that exists without a yes."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bitsback.errors import InputError

from .streams import STANDARD

Force = Annotated[bool, typer.Option("--force", help="replace an output that exists")]


def claim(
    output: Path,
    inputs: Sequence[Path] = (),
    *,
    force: bool,
    makes_folder: bool = False,
    may_be_folder: bool = False,
    may_be_standard: bool = False,
) -> None:
    """Refuse an output before any work is done for it.

    A terminal is asked whether to replace a file; a folder is left to its writer, which fills only
    an empty one.

    Args:
        output: "-" is standard output, which is not a file.
        inputs: files and folders that the command reads.
        force: whether to replace a file without a question.
        makes_folder: whether the command makes the folder that the output lies in.
        may_be_folder: whether the command may write a folder.
        may_be_standard: whether the command may write to standard output.

    Raises:
        InputError: the output is an input or lies in one, or exists, or its folder does not.
    """
    from bitsback.sources import atomic_files

    if output == STANDARD:
        if not may_be_standard:
            raise InputError("this output does not go to standard output: name a file")
        return
    atomic_files.check_apart(output, [path for path in inputs if path != STANDARD])
    folder = Path(os.path.realpath(output)).parent
    if not makes_folder and not folder.is_dir():
        raise InputError(f"cannot write {output}: there is no folder {folder}")
    if output.is_dir():
        if not may_be_folder:
            raise InputError(f"cannot write {output}: it is a folder; choose another name")
        return
    if force or not (output.exists() or output.is_symlink()):
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        if typer.confirm(f"bitsback: {output} exists: replace it?", err=True):
            return
        raise InputError(f"{output} exists, and was left as it is")
    raise InputError(f"{output} exists: choose another name, or replace it with --force")


def check_figure(output: Path) -> None:
    """Raise InputError unless a figure can be written under this name."""
    if output.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"cannot write {output}: a figure is a .png, .svg or .pdf")
