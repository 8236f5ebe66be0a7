"""`bitsback verify` and `bitsback info`: what a file holds, and whether it is whole."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from bitsback.errors import FormatError
from bitsback.images.safe_names import plain

from .console import bar, print_table
from .files.opening import Lossy, Reading, opened
from .options import Device, Engine, File, Json, MicroBatch, OwnModel, Quiet, Verbose

if TYPE_CHECKING:
    from bitsback.archive.reader import Damage, Reader

_MOST_ROWS, _MOST_DAMAGE = 20, 10


def verify(
    file: File,
    model: OwnModel = None,
    device: Device = "auto",
    engine: Engine = "auto",
    micro_batch: MicroBatch = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Decode a file in memory and check header, messages and pixels, chunk by chunk."""
    damage: list[Damage] = []
    with opened(file, Reading(model, device, engine, micro_batch)) as reader:
        if isinstance(reader, Lossy):
            _verify_lossy(file, reader, model, device, engine, as_json)
            return
        with bar("verify") as progress:
            for _ in reader.salvaged(damage, progress):
                pass
        if damage:
            told = "; ".join(map(str, damage[:_MOST_DAMAGE]))
            more = f"; and in {len(damage) - _MOST_DAMAGE:,} more chunks"
            more = more if len(damage) > _MOST_DAMAGE else ""
            raise FormatError(f"{file} is damaged in {told}{more}")
        reader.check_size()
        chunks = len(reader.header.chunks)
    if as_json:
        fields = {"file": str(file), "kind": "lossless", "images": len(reader), "chunks": chunks}
        print(json.dumps(fields))
    else:
        print(f"{plain(str(file))}: OK, {len(reader)} images in {chunks} chunk{'s' * (chunks > 1)}")


def _verify_lossy(
    file: Path,
    lossy: Lossy,
    model: str | None,
    device: str,
    engine: str,
    as_json: bool,
) -> None:
    from bitsback.lossy import coder, files

    header = lossy.header
    coder.decode(lossy.data, files.model_of(lossy.data, model, device, engine))
    if as_json:
        fields = {"file": str(file), "kind": "lossy", "images": header.count, "steps": header.steps}
        print(json.dumps(fields))
    else:
        many = f"{header.count} image{'s' * (header.count != 1)}"
        print(f"{plain(str(file))}: OK, a lossy file of {many}, {header.steps} steps of latents")


def info(file: File, quiet: Quiet = False, verbose: Verbose = False, as_json: Json = False) -> None:
    """Print a file's header and how its chunks were coded; -v: all chunks of many."""
    with opened(file, Reading()) as reader:
        if isinstance(reader, Lossy):
            _print(_lossy_fields(reader), [], verbose, as_json)
            return
        reader.check_size()
        fields, chunks = _fields(reader)
    _print(fields, chunks, verbose, as_json)


def _fields(reader: "Reader") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Of the file, and of each chunk."""
    header = reader.header
    fields = dataclasses.asdict(header) | {"kind": "lossless"}
    fields |= {"file_bytes": header.file_size, "images": header.images}
    del fields["chunks"]
    chunks = [
        dataclasses.asdict(entry) | dataclasses.asdict(reader.head(number))
        for number, entry in enumerate(header.chunks)
    ]
    return fields, chunks


def _lossy_fields(lossy: Lossy) -> dict[str, Any]:
    header, data = lossy.header, lossy.data
    fields = dataclasses.asdict(header) | {"kind": "lossy"}
    fields["model"] = f"its SHA-256 begins with {header.model:03x}"
    return fields | {"file_bytes": len(data), "images": header.count}


def _print(
    fields: dict[str, Any], chunks: list[dict[str, Any]], verbose: bool, as_json: bool
) -> None:
    if as_json:
        print(json.dumps(fields | ({"chunks": chunks} if chunks else {}), default=bytes.hex))
        return
    console = Console(highlight=False, markup=False)
    width = max(map(len, fields))
    for name, value in fields.items():
        text = value.hex() if isinstance(value, bytes) else value
        if text not in ("", None):
            console.print(f"{name.replace('_', ' '):>{width}}: {plain(str(text))}", soft_wrap=True)
    if not chunks:
        return
    heads = ("chunk", "images", "bytes", "tiles", "classical", "batch", "heads", "initial bytes")
    table = Table(*heads, box=box.SIMPLE)
    shown = chunks if verbose else chunks[:_MOST_ROWS]
    for number, chunk in enumerate(shown):
        segments = chunk["segments"]
        tiles = (f"{each['count']} of {each['width']}x{each['height']}" for each in segments)
        classical = sum(each["classical"] for each in segments)
        initial = chunk["payload_bytes"] + chunk["classical_bytes"] + chunk["filler_bytes"]
        coded = number, chunk["images"], chunk["size"], ", ".join(tiles), classical
        table.add_row(*map(str, (*coded, chunk["batch"], chunk["heads"], initial)))
    print_table(table, console, folds="tiles")
    if len(chunks) > len(shown):
        console.print(f"and {len(chunks) - len(shown)} more chunks: -v shows them all")
    legend = "classical: tiles in a classical code; initial bytes: payload, these, and filler"
    console.print(legend, soft_wrap=True)
