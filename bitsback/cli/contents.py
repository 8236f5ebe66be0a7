"""`bitsback ls` and `bitsback get`: the files in a compressed folder or tar, and some of them."""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bitsback.errors import InputError
from bitsback.images.safe_names import plain

from .console import bar, closing, note, print_table
from .files.opening import Reading, opened_lossless
from .files.outputs import Force, claim
from .files.streams import STANDARD, check_standard, write_bytes
from .options import Device, Engine, File, Json, MicroBatch, OwnModel, Quiet, Verbose

if TYPE_CHECKING:
    from bitsback.archive.members import Listed


def ls(
    file: File,
    long: Annotated[
        bool, typer.Option("-l", "--long", help="sizes, modes and chunks, too")
    ] = False,
    null: Annotated[
        bool, typer.Option("-0", "--null", help="a NUL after each name, for xargs -0")
    ] = False,
    model: OwnModel = None,
    device: Device = "auto",
    engine: Engine = "auto",
    micro_batch: MicroBatch = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """List the files in a compressed folder, tar or list; this decodes it."""
    from bitsback.archive import members

    if null and (long or as_json):
        raise InputError("-0 is for names alone: leave -l and --json out")
    reading = Reading(model, device, engine, micro_batch)
    with opened_lossless(file, reading) as reader, bar("ls") as progress:
        files = list(members.listed(reader, progress))
    if as_json:
        print(json.dumps([dataclasses.asdict(each) for each in files]))
    elif long:
        print_table(_table(files), Console())
    else:
        _print_names([each.name for each in files], "\0" if null else "\n")


def _print_names(names: list[str], end: str) -> None:
    """Print names byte for byte; in a terminal, those with odd characters escaped."""
    if sys.stdout.isatty() and end == "\n":
        print(*map(plain, names), sep=end, end=end)
        return
    sys.stdout.flush()
    sys.stdout.buffer.writelines(f"{name}{end}".encode(errors="surrogateescape") for name in names)
    sys.stdout.buffer.flush()


def _table(files: "list[Listed]") -> Table:
    table = Table("name", "what", "chunk")
    for each in files:
        image = f"{each.mode} {each.width} x {each.height}"
        table.add_row(
            Text(plain(each.name)),
            image if each.size is None else f"{each.size:,} bytes",
            str(each.chunk),
        )
    return table


def get(
    file: File,
    names: Annotated[list[str], typer.Argument(help="files, or folders, as ls names them")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="the folder to make; -: one file to standard output"),
    ],
    model: OwnModel = None,
    device: Device = "auto",
    engine: Engine = "auto",
    micro_batch: MicroBatch = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Give back some files of a compressed folder or tar, from the chunks that hold them."""
    from bitsback.archive import members

    check_standard(output, as_json)
    claim(output, [file], force=force, may_be_folder=True, may_be_standard=True)
    began = time.perf_counter()
    reading = Reading(model, device, engine, micro_batch)
    with opened_lossless(file, reading) as reader, bar("get") as progress:
        if output != STANDARD:
            count = members.extract(reader, names, output, note, progress)
        else:
            found = list(members.find(reader, names, note, progress))
            if len(found) > 1:
                raise InputError(f"standard output takes one file, not {len(found)}: name a folder")
            count = len(found)
            write_bytes(found[0].content)
    seconds = time.perf_counter() - began
    line = f"{output}: {count:,} file{'s' * (count != 1)}, {seconds:.1f} s"
    closing(line, as_json, output=str(output), files=count, seconds=seconds)
