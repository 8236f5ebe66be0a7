"""Commands that are killed, or run out of disk: the old output whole or the new one, no litter.

The command line runs in processes of its own, with NumPy's engine, which starts fast.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import fuzz_files
import numpy as np
import pytest
from PIL import Image

# Runs the command line, and at some moment (an event and its number, or none) ends it as
# SIGKILL does, or waits there for a line on standard input.
WRAPPER = """
import io, os, pathlib, signal, sys
event, number, act, *words = sys.argv[1:]
left = int(number)

def here(name):
    global left
    if name == event:
        left -= 1
        if left == 0:
            if act == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            print("waiting", flush=True)
            sys.stdin.readline()

def around(module, name):
    real = getattr(module, name)
    def call(*words, **options):
        here("before " + name)
        found = real(*words, **options)
        here("after " + name)
        return found
    setattr(module, name, call)

class Raw(io.FileIO):
    def write(self, data):
        half = bytes(data)[: len(data) // 2 + 1]
        done = super().write(half)
        here("write")
        return done

open_path = pathlib.Path.open
def open_slowly(self, mode="r", *words, **options):
    if not mode.startswith("x"):
        return open_path(self, mode, *words, **options)
    buffered = io.BufferedRandom if "+" in mode else io.BufferedWriter
    return buffered(Raw(self, mode), 64)

pathlib.Path.open = open_slowly
for name in ("fsync", "replace", "rename", "mkdir"):
    around(os, name)
sys.argv = ["bitsback", *words]
from bitsback.cli import main
main()
"""
SLOW = 900  # seconds, after which a process counts as stuck


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """Models, inputs of two kinds, their files, and what commands write undisturbed."""
    folder = tmp_path_factory.mktemp("setting")
    fuzz_files.build_models(folder)
    random = np.random.default_rng(0)
    np.save(folder / "in.npy", (random.random((40, 8, 8)) < 0.3).astype(np.uint8))
    (folder / "images" / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        pixels = random.integers(0, 256, (9, 7, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
        os.utime(folder / "images" / f"{name}.png", (10**9, 10**9))  # its bits are a size, too
    for name in ("in.npy", "images"):
        done = run(compress(folder, name, folder / f"{name}.bb"))
        assert done.returncode == 0, done.stderr
        shutil.copy(folder / f"{name}.bb", folder / f"whole-compress-{name}")
        done = run(decompress(folder, name, folder / f"whole-decompress-{name}"))
        assert done.returncode == 0, done.stderr
    return folder


def compress(folder, name, output):
    """Words of the command that compresses an input, two chunks of it."""
    model, chunk = ("bits", 25) if name == "in.npy" else ("colour", 2)
    words = ["compress", folder / name, "-o", output, "--model", folder / model]
    return [*words, "--chunk", chunk, "--engine", "numpy", "--force"]


def decompress(folder, name, output):
    """Words of the command that gives it back."""
    model = "bits" if name == "in.npy" else "colour"
    words = ["decompress", folder / f"{name}.bb", "-o", output, "--model", folder / model]
    return [*words, "--engine", "numpy", "--force"]


def start(words, event="none", number=1, act="kill", **options):
    """The command in a process."""
    return subprocess.Popen(
        [sys.executable, "-c", WRAPPER, event, str(number), act, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(words, event="none", number=1, **options):
    """The command to its end."""
    process = start(words, event, number, **options)
    out, err = process.communicate(timeout=SLOW)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def content(path):
    """All files under a path, by name; None if there is nothing."""
    if path.is_file():
        return path.read_bytes()
    if not path.is_dir():
        return None
    return {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def litter(folder):
    """Temporary files and folders."""
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".part"))


FILES = [("write", n) for n in (1, 3, 9)] + [("before fsync", 1)]
FILES += [("before replace", 1), ("after replace", 1)]
FOLDERS = [("after mkdir", 1), ("after mkdir", 2), ("write", 1), ("write", 9)]
FOLDERS += [("before rename", 1), ("after rename", 1)]
JOBS = [
    *((compress, "in.npy", *moment) for moment in FILES),
    *((decompress, "in.npy", *moment) for moment in FILES),
    *((decompress, "images", *moment) for moment in FOLDERS),
]


@pytest.mark.parametrize(("verb", "name", "event", "number"), JOBS)
def test_a_killed_command_leaves_the_old_output_or_the_new(
    setting, tmp_path, verb, name, event, number
):
    output = tmp_path / name
    if name == "images":
        output.mkdir()  # an empty folder is all that a folder may replace
    else:
        output.write_bytes(b"old")
    before, wanted = content(output), content(setting / f"whole-{verb.__name__}-{name}")
    killed = run(verb(setting, name, output), event, number)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    after = content(output)
    if event in ("after replace", "after rename"):
        assert after == wanted
        shutil.rmtree(output) if output.is_dir() else None
    else:
        assert after == before
        assert len(litter(tmp_path)) == 1
    assert run(verb(setting, name, output)).returncode == 0
    assert content(output) == wanted
    assert litter(tmp_path) == []


@pytest.mark.parametrize("verb", [compress, decompress])
def test_a_command_killed_at_any_time_leaves_the_old_output_or_the_new(setting, tmp_path, verb):
    output = tmp_path / "in.npy"
    wanted = content(setting / f"whole-{verb.__name__}-in.npy")
    begin = time.monotonic()
    assert run(verb(setting, "in.npy", output)).returncode == 0
    lasted = time.monotonic() - begin
    ends = set()
    for number in range(8):
        output.write_bytes(b"old")
        process = start(verb(setting, "in.npy", output))
        time.sleep(lasted * (0.3 + 0.1 * number))
        process.kill()
        process.communicate(timeout=SLOW)
        ends.add(content(output))
        assert ends <= {b"old", wanted}
    assert run(verb(setting, "in.npy", output)).returncode == 0
    assert content(output) == wanted
    assert litter(tmp_path) == []


def test_the_file_of_a_living_writer_is_not_removed(setting, tmp_path):
    output = tmp_path / "in.npy"
    first = start(decompress(setting, "in.npy", output), "write", 2, "wait")
    assert first.stdout.readline() == "waiting\n"
    written = litter(tmp_path)
    assert len(written) == 1
    assert run(decompress(setting, "in.npy", output)).returncode == 0
    assert litter(tmp_path) == written
    wanted = content(output)
    output.unlink()
    assert first.communicate("go on\n", timeout=SLOW)[1] is not None
    assert first.returncode == 0
    assert content(output) == wanted
    assert litter(tmp_path) == []


def test_of_two_living_writers_of_a_folder_the_second_is_told(setting, tmp_path):
    output = tmp_path / "images"
    first = start(decompress(setting, "images", output), "write", 2, "wait")
    assert first.stdout.readline() == "waiting\n"
    written = litter(tmp_path)
    assert len(written) == 1
    assert run(decompress(setting, "images", output)).returncode == 0
    assert litter(tmp_path) == written
    wanted = content(output)
    _, err = first.communicate("go on\n", timeout=SLOW)
    assert first.returncode == 2
    one_sentence(err, "cannot write")
    assert content(output) == wanted
    assert litter(tmp_path) == []


def one_sentence(err, words):
    assert "Traceback" not in err
    told = [line for line in err.splitlines() if line.startswith("bitsback: ")]
    assert len(told) == 1
    assert err.splitlines()[-1] == told[0]
    assert words in told[0]


@pytest.mark.parametrize(
    ("verb", "name"), [(compress, "in.npy"), (decompress, "in.npy"), (decompress, "images")]
)
def test_a_limit_of_a_files_size_is_one_sentence(setting, tmp_path, verb, name):
    output = tmp_path / name
    before = b"old" if name == "in.npy" else None
    if before:
        output.write_bytes(before)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))

    done = run(verb(setting, name, output), preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    one_sentence(done.stderr, "cannot write")
    assert content(output) == before
    assert litter(tmp_path) == []


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a disk of 4 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(disk)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("verb", "name"), [(compress, "in.npy"), (decompress, "in.npy"), (decompress, "images")]
)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(setting, full_disk, verb, name):
    (full_disk / "filler").write_bytes(bytes(4096))
    done = run(verb(setting, name, full_disk / name))
    assert done.returncode == 2, done.stderr
    one_sentence(done.stderr, "no space left")
    assert os.listdir(full_disk) == ["filler"]
