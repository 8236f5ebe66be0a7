"""What is written keeps the mode of what it replaces, and sweeps only files and folders."""

import os
import stat
import subprocess
import sys

import pytest

from bitsback.sources import atomic_files


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_file_that_is_replaced_keeps_its_mode(mode, tmp_path):
    path = tmp_path / "x.bb"
    path.write_bytes(b"old")
    path.chmod(mode)
    with atomic_files.atomic_file(path) as file:
        file.write(b"new")
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == mode
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_fifo_named_like_a_temporary_file_is_left_alone(tmp_path):
    left = tmp_path / ".x.bb.0123abcd.part"
    os.mkfifo(left)
    script = (
        "import sys; from pathlib import Path; from bitsback.sources import atomic_files\n"
        "atomic_files.atomic_write(Path(sys.argv[1]), b'new')"
    )
    # A process that opened the FIFO would wait for ever.
    subprocess.run([sys.executable, "-c", script, tmp_path / "x.bb"], check=True, timeout=60)
    assert (tmp_path / "x.bb").read_bytes() == b"new"
    assert left.exists()


def test_folders_are_flushed_before_and_after_they_are_renamed(tmp_path, monkeypatch):
    flushed, flush = [], atomic_files._flush

    def noting(path):
        flushed.append(path.name.partition(".part")[2] or path.name)
        flush(path)

    monkeypatch.setattr(atomic_files, "_flush", noting)
    with atomic_files.atomic_folder(tmp_path / "out") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "a.png").write_bytes(b"x")
    assert {"inner", "a.png", tmp_path.name} <= set(flushed)
    assert flushed[-1] == tmp_path.name


def test_a_file_is_flushed_whole_before_it_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace

    def flushing(descriptor):
        found = os.fstat(descriptor)
        done.append("folder" if stat.S_ISDIR(found.st_mode) else found.st_size)
        fsync(descriptor)

    def renaming(*paths):
        done.append("renamed")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(os, "replace", renaming)
    atomic_files.atomic_write(tmp_path / "x.bb", b"new")
    assert done == [3, "renamed", "folder"]
