"""What each gain that needs no training saves: rates and speeds without and with it.

Every switch of `SWITCHES` is coded alone, and all of them together; a new one is a line of that
list. Each file is decoded, and its images are compared. What a switch cannot code, and sets that
are not there, are rows of their own, which say why.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bitsback.archive import writer
from bitsback.chunks.plan import Settings
from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError
from bitsback.images.image_set import ImageSet
from bitsback.progress import Progress, enter

from . import round_trip
from .round_trip import Seconds
from .standard import StandardSet, parted

BASE, TOGETHER = "none", "all"


@dataclasses.dataclass(frozen=True)
class Switch:
    """A gain that may be switched on.

    Args:
        name: as the table has it.
        on: fields of `Settings` with it.
        off: fields of `Settings` without it, where these are not the usual ones.
        one_chunk: whether all images are one chunk with it. Such a switch is another way to use
            one before it, and has no part in all switches together.
    """

    name: str
    on: Mapping[str, Any]
    off: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    one_chunk: bool = False


SWITCHES = (
    Switch("any order", {"any_order": True}),
    Switch("any order, one chunk", {"any_order": True}, one_chunk=True),
    Switch("predictor", {"predictor": True}, {"predictor": False}),
    Switch("recalibration", {"recalibration": True}, {"recalibration": False}),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A set, coded with a switch.

    Args:
        title: of the set.
        images, dims: images, and their values in all.
        model: its name.
        switch: name of it.
        bits_per_dim: of the whole file.
        change: of the file's size to that without any switch; a ratio less one.
        encode, decode: time of both ways.
        model_share: of the values, went through the model.
        order_bits, promised_order_bits: that the order of the images gave back, and should have.
        match: whether net and KL-based bits match; None if the chain coded nothing.
    """

    title: str
    images: int
    dims: int
    model: str
    switch: str
    bits_per_dim: float
    change: float
    encode: Seconds
    decode: Seconds
    model_share: float
    order_bits: float
    promised_order_bits: float
    match: bool | None

    def __str__(self) -> str:
        encoded, decoded = self.speeds
        return (
            f"{self.title}, {self.switch}: {self.bits_per_dim:.4f} bits/dim ({self.change:+.2%}), "
            f"{encoded:.3g} images/s encoding, {decoded:.3g} decoding"
        )

    @property
    def speeds(self) -> tuple[float, float]:
        """Images encoded and decoded in a second of the processor."""
        return self.images / self.encode.processor, self.images / self.decode.processor


@dataclasses.dataclass(frozen=True)
class Without:
    """A set or a switch that has no figures.

    Args:
        title: of the set.
        switch: name of it; empty for all.
        reason: why.
    """

    title: str
    switch: str
    reason: str

    def __str__(self) -> str:
        return f"{self.title}{', ' if self.switch else ''}{self.switch}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class Part:
    """The progress of one run of several.

    Args:
        progress: of all.
        name: of the run.
    """

    progress: Progress | None
    name: str

    def __call__(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(done, total)

    def phase(self, name: str) -> None:
        """Name a phase of the run."""
        enter(self.progress, f"{self.name}: {name}")


@dataclasses.dataclass(frozen=True)
class Subject:
    """A set that is to be coded.

    Args:
        name: of the set.
        read: gives its title, its images and the model.
    """

    name: str
    read: Callable[[], tuple[str, ImageSet, LoadedModel]]


def standard(
    folder: Path, limit: int | None, load: Callable[[str], LoadedModel], model: str | None = None
) -> tuple[list[Subject], list[Without]]:
    """The standard sets of a folder, and those that it lacks.

    Args:
        limit: images of each set, at most.
        load: gives a model by its name.
        model: name of that for all sets; if None each has its own.
    """

    def subject(each: StandardSet) -> Subject:
        def read() -> tuple[str, ImageSet, LoadedModel]:
            return *each.read(folder, limit), load(model or each.models[0])

        return Subject(each.name, read)

    there, lacking = parted(folder)
    absent = [
        Without(each.name, "", f"absent: there is no {folder / each.place}") for each in lacking
    ]
    return [subject(each) for each in there], absent


def to_dict(rows: Sequence[Row], without: Sequence[Without], limit: int | None) -> dict[str, Any]:
    """An ablation as JSON holds it; images per second of the processor.

    Args:
        limit: images of each set, at most.
    """
    told = [
        dataclasses.asdict(row)
        | dict(zip(("encoded_per_second", "decoded_per_second"), row.speeds, strict=True))
        for row in rows
    ]
    left = [dataclasses.asdict(each) for each in without]
    return {"limit": limit, "rows": told, "without": left}


def run(
    subjects: Sequence[Subject], batch: int | None = None, progress: Progress | None = None
) -> Iterator[Row | Without]:
    """Code sets without any switch, with each, and with all together.

    Args:
        batch: as of `Settings`.
        progress: called with (values done, values in all) of each run.

    Yields:
        The rows of set after set; one that cannot be read or coded has a row that says why.

    Raises:
        BitsbackError: images did not come back.
    """
    for subject in subjects:
        try:
            title, images, loaded = subject.read()
            images = round_trip.pixels_of(images, "an ablation")
            round_trip.warm_up(images, loaded)
            runs = Runs(title, images, loaded, batch, progress)
            base = runs.row(BASE, [])
        except InputError as error:
            yield Without(subject.name, "", str(error))
            continue
        yield base
        yield from _switched(runs, base)


def _switched(runs: "Runs", base: Row) -> Iterator[Row | Without]:
    """The rows of a set with switches."""
    able: list[Switch] = []
    for switch in SWITCHES:
        # Another way to use a switch says nothing where the first one failed or did the same.
        first = not switch.one_chunk
        if not first and not (runs.has_chunks and any(each.on == switch.on for each in able)):
            continue
        try:
            yield runs.row(switch.name, [switch], base)
        except InputError as error:
            yield Without(runs.title, switch.name, str(error))
            continue
        if first:
            able.append(switch)
    if len(able) > 1:
        yield runs.row(TOGETHER, able, base)


@dataclasses.dataclass(frozen=True)
class Runs:
    """Runs of one set with one model.

    Args:
        title: of the set.
        batch, progress: as of `run`.
    """

    title: str
    images: ImageSet
    loaded: LoadedModel
    batch: int | None
    progress: Progress | None

    @property
    def has_chunks(self) -> bool:
        """Whether the set is more than one chunk."""
        return len(writer.bounds_of(self.images, None)) > 1

    def row(self, name: str, on: Sequence[Switch], base: Row | None = None) -> Row:
        """Code the set with some switches on and the others off, and decode it.

        Args:
            base: the row without any; None if this is it.

        Raises:
            InputError: the set cannot be coded so.
            BitsbackError: its images did not come back.
        """
        settings = Settings(self.batch)
        for fields in [*(each.off for each in SWITCHES), *(each.on for each in on)]:
            settings = dataclasses.replace(settings, **fields)
        chunk = len(self.images.pixels) if any(each.one_chunk for each in on) else None
        tell = Part(self.progress, f"{self.title}, {name}")
        coded = round_trip.encode(self.images, self.loaded, settings, chunk, tell)
        enter(tell, "decoding")
        decoding = round_trip.decode(
            coded.packed.data, self.images, self.loaded, settings.any_order, tell
        )
        report, size = coded.packed.report, len(coded.packed.data)
        bits_per_dim, check = 8 * size / report.dims, report.check()
        return Row(
            title=self.title,
            images=report.images,
            dims=report.dims,
            model=self.loaded.name,
            switch=name,
            bits_per_dim=bits_per_dim,
            change=bits_per_dim / base.bits_per_dim - 1 if base else 0.0,
            encode=coded.seconds,
            decode=decoding,
            model_share=report.model_share,
            order_bits=report.order.bits,
            promised_order_bits=report.order.promised_bits,
            match=check.passed if check.measured else None,
        )
