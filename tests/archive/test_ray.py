"""Ray actors give the bytes and the images of one process, also when one of them is killed."""

import dataclasses
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_processes import Instead, alone, drawings, recipe, together

import bitsback
from bitsback.archive import ray as cluster
from bitsback.archive.executor import EncodeTask
from bitsback.archive.ray import RayExecutor
from bitsback.archive.reader import Reader
from bitsback.cli import main
from bitsback.errors import BitsbackError, FormatError, InputError, ModelError

ray = pytest.importorskip("ray")


@pytest.fixture
def folder(build_model, tmp_path):
    build_model()
    return tmp_path / "model"


@pytest.fixture(scope="module")
def running():
    """A cluster of two workers on this machine, which stays for the module's tests."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


# First, while this process is connected to no cluster.
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "1:2:3", "nonsense"])
def test_an_address_without_a_cluster_is_one_sentence(folder, address):
    with pytest.raises(InputError, match="there is no Ray cluster at"):
        list(RayExecutor(recipe(folder), address=address).run([]))


def test_actors_write_and_read_the_file_of_one_process(folder, running):
    images, executor = drawings(), RayExecutor(recipe(folder), jobs=2)
    data = together(folder, images, executor)
    assert data == alone(folder, images)
    reader = Reader(io.BytesIO(data), lambda *_: bitsback.load_model(folder))
    parts = list(reader.restored(executor=executor))
    found = np.concatenate([np.stack(list(part.pixels))[..., 0] for part in parts])
    assert np.array_equal(found, images)
    damaged = bytearray(data)
    damaged[-3] ^= 1
    reader = Reader(io.BytesIO(bytes(damaged)), lambda *_: bitsback.load_model(folder))
    with pytest.raises(FormatError, match="damaged in chunk 4, images 20 to 23"):
        list(reader.restored(executor=executor))


def test_an_actor_that_is_killed_is_replaced(folder, running, tmp_path):
    mark = tmp_path / "mark"

    class DiesOnce(EncodeTask):
        def run(self, loaded, progress=None):
            if self.number == 2 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return EncodeTask(**vars(self)).run(loaded, progress)

    images = drawings()
    data = together(folder, images, Instead(DiesOnce, RayExecutor(recipe(folder), jobs=2)))
    assert mark.exists()
    assert data == alone(folder, images)


def test_the_command_line_takes_the_engine(folder, running, tmp_path, monkeypatch, capsys):
    images = drawings()
    np.save(tmp_path / "x.npy", images)
    words = ("--model", folder, "--engine", "ray", "--jobs", 2)
    compress = ("compress", tmp_path / "x.npy", "-o", tmp_path / "x.bb", "--chunk", 5, *words)
    for command in (compress, ("decompress", tmp_path / "x.bb", "-o", tmp_path / "y.npy", *words)):
        monkeypatch.setattr(sys, "argv", ["bitsback", *map(str, command)])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert not exit_.value.code
    assert np.array_equal(np.load(tmp_path / "y.npy"), images)
    assert (tmp_path / "x.bb").read_bytes() == bitsback.compress(images, folder, chunk=5)
    monkeypatch.setattr(
        sys, "argv", ["bitsback", *map(str, compress[:-4]), "--force", "--address", "somewhere"]
    )
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    assert "--engine ray" in capsys.readouterr().err


def test_actors_that_always_die_are_given_up(folder, running):
    class Dies(EncodeTask):
        def run(self, loaded, progress=None):
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(BitsbackError, match="4 actors died"):
        together(folder, drawings(5), Instead(Dies, RayExecutor(recipe(folder), jobs=1)))


def test_actors_refuse_another_model_than_the_files(folder, running):
    plan = dataclasses.replace(recipe(folder), sha256=b"otherone")
    with pytest.raises(ModelError, match="a worker needs model"):
        together(folder, drawings(5), RayExecutor(plan, jobs=1))


@pytest.mark.parametrize(
    ("has", "jobs", "device", "expected"),
    [
        ({"CPU": 16.0}, None, "auto", (16, 0.0)),
        ({"CPU": 16.0}, 3, "auto", (3, 0.0)),
        ({"CPU": 16.0, "GPU": 4.0}, None, "auto", (4, 1.0)),
        ({"CPU": 16.0, "GPU": 4.0}, None, "cpu", (16, 0.0)),
        ({"CPU": 16.0, "GPU": 4.0}, 8, "cuda", (8, 0.5)),
        ({"CPU": 16.0, "GPU": 2.0}, 3, "cuda", (3, 0.5)),
        ({"CPU": 16.0, "GPU": 1.0}, 3, "cuda", (3, 0.3333)),
        ({"CPU": 16.0, "GPU": 4.0}, 2, "auto", (2, 1.0)),
    ],
)
def test_actors_share_what_the_cluster_has(has, jobs, device, expected):
    assert cluster._shares(has, jobs, device) == expected


def test_a_cluster_that_is_too_small_is_refused():
    with pytest.raises(InputError, match="2 processors, too few for 3 actors"):
        cluster._shares({"CPU": 2.0}, 3, "auto")
    with pytest.raises(InputError, match="0 processors"):
        cluster._shares({}, None, "auto")


def test_a_cluster_of_its_own_is_begun_and_ended(folder, tmp_path):
    """As on the command line, in a process that no other test shares."""
    np.save(tmp_path / "x.npy", drawings())
    words = ("--chunk", "5", "--model", str(folder), "--engine", "ray")
    done = subprocess.run(
        [sys.executable, "-m", "bitsback.cli", "compress", "x.npy", "-o", "x.bb", *words],
        cwd=tmp_path,
        env=os.environ | {"RAY_ADDRESS": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.bb").read_bytes() == bitsback.compress(drawings(), folder, chunk=5)


def test_without_ray_a_sentence_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"bitsback\[ray\]"):
        list(RayExecutor(recipe(folder)).run([]))


LISTENING = """
import sys
from pathlib import Path
import ray
from bitsback.archive.ray import _cluster

def listening():
    lines = [line.split() for name in ("tcp", "tcp6")
             for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {line[1] for line in lines if line[3] == "0A"}

LOOPBACK = f"{int.from_bytes(bytes((127, 0, 0, 1)), sys.byteorder):08X}"
before = listening()
with _cluster(ray, None, 1):
    new = listening() - before
    assert ray.get(ray.remote(lambda: 7).remote()) == 7
assert new
for address in new:  # the last word of the address is 127.0.0.1, in the processor's order
    assert address.partition(":")[0].endswith(LOOPBACK), new
"""


@pytest.mark.skipif(not Path("/proc/net/tcp6").exists(), reason="needs /proc")
def test_a_cluster_of_this_machine_listens_on_it_alone():
    done = subprocess.run([sys.executable, "-c", LISTENING], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
