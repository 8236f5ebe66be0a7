"""A file has the same bytes whatever is set around it: each process runs many settings."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import contextlib, hashlib, json, sys
import numpy as np, torch
from bitsback import load_model
from bitsback.archive import writer
from bitsback.images.image_set import from_array

rows, columns = np.mgrid[:32, :32]
random = np.random.default_rng(0)
waves = [128 + 80 * np.sin(rows / a + columns / b) for a, b in random.uniform(2, 9, (60, 2))]
x = np.stack(waves).reshape(20, 3, 32, 32).transpose(0, 2, 3, 1)
x = (x + random.integers(-9, 10, x.shape)).astype(np.uint8)

@contextlib.contextmanager
def without_onednn(nnpack):
    torch.backends.mkldnn.enabled = False
    before = torch.backends.nnpack.set_flags(nnpack)
    try:
        yield
    finally:
        torch.backends.nnpack.set_flags(*before)
        torch.backends.mkldnn.enabled = True

@contextlib.contextmanager
def threads(count):
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(1)

@contextlib.contextmanager
def default(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)

settings = {
    "plain": contextlib.nullcontext(),
    "threads 2": threads(2),
    "threads 3": threads(3),
    "inference": torch.inference_mode(),
    "float64": default(torch.float64),
    "float16": default(torch.float16),
    "autocast bfloat16": torch.autocast("cpu", torch.bfloat16),
    "autocast float16": torch.autocast("cpu", torch.float16),
}
if hasattr(torch.backends, "nnpack"):
    settings |= {f"NNPACK {on}": without_onednn(on) for on in (True, False)}
shared, found = load_model("photo-fast", "cpu"), {}
for name in sys.argv[1:] or settings:
    with settings[name]:
        # Some are set before a model is loaded, some later.
        model = load_model("photo-fast", "cpu") if name in ("inference", "float16") else shared
        data = writer.compress_set(from_array(x), model, Settings(16, always_chain=True)).data
        found[name] = hashlib.sha256(data).hexdigest()
print(json.dumps(found))
"""


def digests(*settings, **environment):
    """SHA-256 of a file by the setting under which a process wrote it."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *settings],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def plain():
    return digests()


def test_the_bytes_are_the_same_under_every_setting_of_torch(plain):
    assert len(plain) >= 8
    assert set(plain.values()) == {plain["plain"]}


@pytest.mark.parametrize(
    "environment",
    [
        {"ONEDNN_MAX_CPU_ISA": "SSE41", "BITSBACK_KERNELS": "0"},
        {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_DEFAULT_FPMATH_MODE": "BF16"},
    ],
    ids=lambda environment: " ".join(environment),
)
def test_the_bytes_are_the_same_in_every_environment(environment, plain):
    assert set(digests("plain", **environment).values()) == {plain["plain"]}
