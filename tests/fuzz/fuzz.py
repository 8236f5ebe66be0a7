"""Hostile files and model folders by the thousand: right pixels or a named error, nothing else.

    PYTHONPATH=tests python tests/fuzz/fuzz.py --cases 100000 [--seed N] [--jobs 2] [--only NUMBER]

Case NUMBER of a seed is always the same. Each must end, within 5 seconds of a
processor, 500 MB more memory than an idle process has, and 1 GB written, in the very pixels that
were compressed or in a subclass of BitsbackError. Otherwise the case is saved, its traceback
printed, and the exit code is 1.
"""

import argparse
import collections
import contextlib
import ctypes
import dataclasses
import gc
import io
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import fuzz_files
import fuzz_lossy
import fuzz_models
import numpy as np
from fuzz_files import Case, Images, Source

from bitsback.archive.reader import Damage, Reader
from bitsback.coding.model import LoadedModel
from bitsback.errors import BitsbackError
from bitsback.images import bit_depth
from bitsback.images.image_set import ImageSet
from bitsback.images.manifest import FilesManifest
from bitsback.images.parts import Lost, Part, join
from bitsback.models import store
from bitsback.sources import writers
from bitsback.sources.read import read_images
from bitsback.tiles import channels as planes
from bitsback.tiles import tiles

SECONDS, MEMORY, DISK = 5.0, 500_000_000, 1_000_000_000
STUCK = 900  # seconds without a word from any worker, after which all count as stuck
SUFFIXES = {"array": ".npy", "npz": ".npz", "file": ".png", "folder": "", "tar": ".tar"}


class HangError(Exception):
    """A case took too long."""


class FullDiskError(Exception):
    """A case wrote more than it may."""


class WrongPixelsError(Exception):
    """A case gave other pixels, or wrote outside its output."""


@dataclasses.dataclass(frozen=True)
class Result:
    """How a case ended: in an error's name, or in "pixels"; and what it took.

    Args:
        seconds: of a processor.
        peak, idle: bytes of memory, at most and of an idle process.
        written: bytes, to files and pipes.
    """

    number: int
    kind: str
    end: str
    seconds: float
    peak: int
    idle: int = 0
    failure: str = ""
    written: int = 0


@dataclasses.dataclass(frozen=True)
class World:
    """Where cases come from, and a scratch folder."""

    folder: Path
    models: dict[str, LoadedModel]
    sources: list[Source]
    lossy: list[fuzz_lossy.LossySource]


def build(folder: Path) -> World:
    """Tiny models and whole files of every kind."""
    models = fuzz_files.build_models(folder)
    sources = fuzz_files.build_sources(folder, models)
    fuzz_files.untouched(sources)
    fuzz_files.bombs()
    return World(folder, models, sources, fuzz_lossy.build(folder))


def same(found: Images, wanted: Images, side: int, reshaped: bool) -> bool:
    """Whether these are the wanted images, or their tiles if they may be cut otherwise."""
    if not reshaped:
        return len(found) == len(wanted) and all(map(np.array_equal, found, wanted))
    for channels in (1, 3):
        held = [p for whole in wanted for p in planes.split(whole) if p.shape[2] == channels]
        got = [p for whole in found for p in planes.split(whole) if p.shape[2] == channels]
        if not held and not got:
            continue
        again = tiles.join(tiles.cut(held, (side, side)), [p.shape for p in got])
        if not all(map(np.array_equal, got, again)):
            return False
    return True


def decode(case: Case, random: Random, scratch: Path) -> None:
    """Read a hostile file in one of the ways that a user could.

    Raises:
        BitsbackError: it was refused.
        WrongPixelsError: it was not, but is wrong.
    """
    loaded = case.source.loaded
    side = loaded.tiles[0]
    models = {loaded.name: loaded}
    reader = Reader(
        io.BytesIO(case.data), lambda name, _: models[name] if name in models else store.load(name)
    )
    way = random.choice(["all", "all", "salvage", "write", "rescue", "slice", "index", "join"])
    if case.kind in ("extra arrays", "beside"):
        way = "write"
    flat = [image for wanted in case.wanted for image in wanted]
    if way == "write" and not case.reshaped:
        kind = case.source.sets[0].manifest.kind
        output = scratch / "out" / f"output{SUFFIXES[kind]}"
        written = _write(reader, reader.restored(), output)
        found, wanted = [image[...] for image in written.pixels], flat
        # Of some sources, files that travel as they are become images when they are read again.
        others = case.kind == "shuffled" or case.source.name in ("carried", "files")
        if isinstance(written.manifest, FilesManifest) and (written.kept.carried or others):
            # A file with strange things beside its pixels is right, but not read as an image.
            names = [name for each in case.source.sets for name in each.manifest.names]
            images = dict(zip(names, flat, strict=False))
            read = zip(written.manifest.names, found, strict=True)
            found = [image for name, image in read if name in images or not others]
            wanted = [images[n] for n in written.manifest.names if n in images or not others]
        if not same(found, wanted[: len(found)], side, False):
            raise WrongPixelsError("a file with other pixels was written")
    elif way == "write":
        kind = random.choice(list(SUFFIXES))
        _write(reader, reader.restored(), scratch / "out" / f"output{SUFFIXES[kind]}")
    elif way == "rescue":
        lost: list[Damage] = []
        kind = case.source.sets[0].manifest.kind
        _write(reader, reader.salvaged(lost), scratch / "out" / f"output{SUFFIXES[kind]}")
        if lost:
            raise lost[0].error
    elif way == "index":
        count = len(reader)
        number = random.choice([0, -1, count // 2, random.randrange(max(1, min(count, 50)))])
        try:
            image = reader[number]
        except IndexError:
            if count > 0:  # which each of these numbers suits
                raise
            return
        if image.dtype == np.uint16:
            image = bit_depth.high(image)
        if not case.reshaped and not any(image.tobytes() == each.tobytes() for each in flat):
            raise WrongPixelsError(f"image {number} is another")
    elif way == "join":
        joined = join(reader.restored(), len(reader))
        if joined.dtype == np.uint16:
            joined = bit_depth.high(joined)
        whole = b"".join(image.tobytes() for image in flat)
        if not case.reshaped and not whole.startswith(joined.tobytes()):
            raise WrongPixelsError("the images together are others")
    elif way == "slice":
        chunk = random.randrange(min(len(case.wanted), len(reader.header.chunks)))
        first, end = reader.header.firsts[chunk], random.choice([1, 2, 5, 6])
        got, wanted = reader[first : first + end], case.wanted[chunk][:end]
        last = reader.header.chunks[chunk].images
        right = b"".join(p.tobytes() for p in wanted) == got.tobytes()
        if not case.reshaped and end <= last and not right:
            raise WrongPixelsError(f"the first images of chunk {chunk} are others")
    else:
        damage: list[Damage] = []
        parts: Iterator[ImageSet | Lost]
        parts = reader.salvaged(damage) if way == "salvage" else iter(reader.restored())
        for number, held in enumerate(parts):
            if isinstance(held, ImageSet):
                wanted = case.wanted[number] if number < len(case.wanted) else []
                if not same(list(held.pixels), wanted, side, case.reshaped):
                    raise WrongPixelsError(f"the images of chunk {number} are others")
        if damage:
            raise damage[0].error


def _write(reader: Reader, parts: Iterable[Part], output: Path) -> ImageSet:
    """What is written, read again; nothing may be written anywhere else."""
    shutil.rmtree(output.parent, ignore_errors=True)
    output.parent.mkdir()
    before = sorted(output.parent.parent.iterdir())
    try:
        writers.write_images(parts, len(reader), output)
    finally:
        left = {path.name for path in output.parent.iterdir()} - {output.name}
        if left or sorted(output.parent.parent.iterdir()) != before:
            raise WrongPixelsError("something was written beside the output")
    return read_images([output])


def load(folder: Path, source: Source, random: Random) -> None:
    """Load a hostile model folder; if it loads, decode with it.

    Raises:
        BitsbackError: it was refused.
        WrongPixelsError: it was not, but gives other pixels.
    """
    loaded = store.load(str(folder), "cpu", random.choice(["torch", "numpy"]))
    for number, held in enumerate(Reader(io.BytesIO(source.data), lambda *_: loaded).restored()):
        if not same(list(held.pixels), source.wanted[number], 8, False):
            raise WrongPixelsError("an altered model gives other pixels")


def run_case(world: World, seed: int, number: int) -> tuple[str, str]:
    """Do one case.

    Returns:
        Its kind, and how it ended: "pixels" or an error's name.
    """
    random = Random(f"{seed}/{number}")
    scratch = world.folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    kind = "?"
    try:
        if random.random() < 0.15:
            name = random.choice(fuzz_models.NAMES)
            kind = fuzz_models.make(scratch / name, world.folder / name, random)
            source = next(s for s in world.sources if s.loaded.name == name)
            load(scratch / name, source, random)
        elif random.random() < 0.15:
            lossy = fuzz_lossy.make(world.lossy, random)
            kind = lossy.kind
            (scratch / "case.bb").write_bytes(lossy.data)
            if not fuzz_lossy.decode(lossy, random, scratch) and not lossy.forged:
                raise WrongPixelsError("a damaged lossy file gives other pixels")
        else:
            case = fuzz_files.make(world.sources, random)
            kind = case.kind
            (scratch / "case.bb").write_bytes(case.data)
            decode(case, random, scratch)
    except BitsbackError as error:
        return kind, type(error).__name__
    except Exception as error:
        error.add_note(f"{kind}, case {number} of seed {seed}")
        raise
    return kind, "pixels"


def give_back() -> None:
    """Return memory that is free already, which cases could use unseen, where the system can."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another system's C library
        ctypes.CDLL(None).malloc_trim(0)


def reset_peak() -> None:
    """Let `peak` begin anew, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """The most memory that this process has had since `reset_peak`, in bytes."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def written() -> int:
    """Bytes that this process has written, where the system tells it."""
    try:
        return int(Path("/proc/self/io").read_text().split("wchar:")[1].split()[0])
    except OSError:
        return 0


def timed_case(world: World, seed: int, number: int, idle: int, seconds: float) -> Result:
    """`run_case` under an alarm, with what it took; a failure is told, not raised."""
    reset_peak()
    start, before = time.process_time(), written()
    kind, end, failure = "?", "", ""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        kind, end = run_case(world, seed, number)
    except Exception as error:
        kind = getattr(error, "__notes__", ["?"])[-1].split(",")[0]
        end, failure = f"FAILED: {type(error).__name__}", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    most = peak()
    if most > idle + MEMORY and not failure:
        end = "FAILED: memory"
        failure = f"{kind}, case {number} of seed {seed}: {(most - idle) / 1e6:.0f} MB"
    on_disk = written() - before
    if on_disk > DISK and not failure:
        end = "FAILED: disk"
        failure = f"{kind}, case {number} of seed {seed}: {on_disk / 1e6:.0f} MB written"
    seconds = time.process_time() - start
    return Result(number, kind, end, seconds, most, idle, failure, on_disk)


def work(numbers: range, seed: int, keep: Path, pipe: Connection, seconds: float) -> None:
    """A worker's cases, one after another."""

    def too_long(*_: object) -> None:
        raise HangError(f"more than {seconds} s")

    def too_much(*_: object) -> None:
        raise FullDiskError(f"more than {DISK} bytes in a file")

    signal.signal(signal.SIGPROF, too_long)
    signal.signal(signal.SIGXFSZ, too_much)
    resource.setrlimit(resource.RLIMIT_FSIZE, (DISK, resource.RLIM_INFINITY))
    # Where memory is asked for that the machine may lack, MemoryError is the better end.
    resource.setrlimit(resource.RLIMIT_AS, (1 << 34, resource.RLIM_INFINITY))
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base) as name:
        world = build(Path(name))
        give_back()
        reset_peak()
        idle = peak()
        for number in numbers:
            pipe.send(number)
            result = timed_case(world, seed, number, idle, seconds)
            if result.failure:
                saved = keep / f"fuzz-{seed}-{number}"
                shutil.rmtree(saved, ignore_errors=True)
                shutil.copytree(world.folder / "scratch", saved, symlinks=True)
            pipe.send(result)
    pipe.send(idle)


def run(
    cases: range, seed: int, jobs: int, keep: Path, seconds: float = SECONDS
) -> Iterator[Result]:
    """All cases by some workers, as they end; a worker that is stuck for long is ended.

    Args:
        seconds: of a processor, after which a case counts as hanging.
    """
    context = multiprocessing.get_context("spawn")
    shares = [cases[job::jobs] for job in range(jobs)]
    waiting: dict[Connection, tuple[multiprocessing.process.BaseProcess, range, int]] = {}

    def start(share: range) -> None:
        if share:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=work, args=(share, seed, keep, theirs, seconds), daemon=True
            )
            process.start()
            theirs.close()
            waiting[ours] = (process, share, share[0])

    for share in shares:
        start(share)
    while waiting:
        for pipe in multiprocessing.connection.wait(list(waiting), timeout=STUCK) or list(waiting):
            process, share, current = waiting[pipe]
            try:
                got = pipe.recv() if pipe.poll() else None
            except EOFError:
                got = None
            if isinstance(got, Result):
                yield got
            elif isinstance(got, int) and got in share:
                waiting[pipe] = (process, share, got)
            else:
                process.kill()
                process.join()
                del waiting[pipe]
                if got is None:
                    failure = f"case {current} of seed {seed}: its process ended or was stuck"
                    yield Result(current, "?", "FAILED: process", 0, 0, 0, failure)
                    start(share[share.index(current) + 1 :])


def summary(results: list[Result]) -> str:
    """Cases by kind and by end, the slowest, and the largest memory."""
    table = collections.Counter((result.kind, result.end) for result in results)
    ends = collections.Counter(result.end for result in results)
    lines = [f"{len(results)} cases"]
    lines += [f"  {count:7} {end}" for end, count in ends.most_common()]
    for kind in sorted({result.kind for result in results}):
        parts = [f"{end} {count}" for (k, end), count in table.most_common() if k == kind]
        lines.append(f"  {kind}: {', '.join(parts)}")
    slowest = max(results, key=lambda result: result.seconds)
    lines.append(f"slowest: case {slowest.number} ({slowest.kind}), {slowest.seconds:.2f} s")
    most = max(results, key=lambda result: result.peak)
    lines.append(
        f"most memory: case {most.number} ({most.kind}), {most.peak / 1e6:.0f} MB, "
        f"of which {most.idle / 1e6:.0f} MB idle"
    )
    full = max(results, key=lambda result: result.written)
    lines.append(f"most written: case {full.number} ({full.kind}), {full.written / 1e6:.0f} MB")
    return "\n".join(lines)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=int, help="do this case alone")
    parser.add_argument("--keep", type=Path, default=Path("/tmp"), help="where failures are saved")
    words = parser.parse_args()
    cases = range(words.cases) if words.only is None else range(words.only, words.only + 1)
    start, results = time.time(), []
    for result in run(cases, words.seed, words.jobs, words.keep):
        results.append(result)
        if result.failure:
            path = words.keep / f"fuzz-{words.seed}-{result.number}"
            print(f"{result.failure}\nsaved under {path}", flush=True)
        elif words.only is not None:
            print(result)
        if len(results) % 10_000 == 0:
            print(f"{len(results)} cases, {time.time() - start:.0f} s", flush=True)
    print(summary(results))
    print(f"seed {words.seed}, {time.time() - start:.0f} s")
    return 1 if any(result.failure for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
