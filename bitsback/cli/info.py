"""`bitsback verify` and `bitsback info`: what a file holds, and whether it is whole."""

import dataclasses
import json
from typing import TYPE_CHECKING

from bitsback.errors import FormatError

from .console import bar
from .options import Device, Engine, File, Json, MicroBatch, OwnModel, open_reader

if TYPE_CHECKING:
    from bitsback.archive.reader import Damage


def verify(
    file: File,
    model: OwnModel = None,
    device: Device = "auto",
    engine: Engine = "torch",
    micro_batch: MicroBatch = None,
) -> None:
    """Decode a file in memory and check header, messages and pixels, chunk by chunk."""
    from bitsback.format import header as container

    damage: list[Damage] = []
    opened = open_reader(file, model, device, engine, micro_batch)
    with opened as reader, bar("verify") as progress:
        for _ in reader.salvaged(damage, progress):
            pass
        if damage:
            raise FormatError(f"{file} is damaged in " + "; ".join(map(str, damage)))
        container.check_size(reader.header, file.stat().st_size)
        chunks = len(reader.header.chunks)
        print(f"{file}: OK, {len(reader)} images in {chunks} chunk{'s' * (chunks > 1)}")


def info(file: File, as_json: Json = False) -> None:
    """Print a file's header and how its chunks were coded."""
    from bitsback.format import header as container

    with open_reader(file, None, "auto", "torch", None) as reader:
        header = reader.header
        container.check_size(header, file.stat().st_size)
        fields: dict[str, object] = dataclasses.asdict(header)
        fields |= {"file_bytes": header.file_size, "images": header.images}
        fields["chunks"] = [
            dataclasses.asdict(entry) | dataclasses.asdict(reader.head(number))
            for number, entry in enumerate(header.chunks)
        ]
    print(json.dumps(fields, default=bytes.hex, indent=None if as_json else 1))
