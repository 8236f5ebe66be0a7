"""Whatever the caller has set, convolutions see settings under which nothing rounds."""

import subprocess
import sys
import threading

import pytest
import torch

from bitsback.models.exact.settings import exact_settings

NNPACK = getattr(torch.backends, "nnpack", None)
NEWER = hasattr(torch.backends.cuda.matmul, "fp32_precision")


def in_a_process(code):
    """Run code in a process of its own: torch's settings are of the process, and some for good."""
    start = "import torch\nfrom bitsback.models.exact.settings import exact_settings\n"
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_callers_autocast_is_off_within_and_on_again_after(dtype):
    ones = torch.ones(1, 1, 3, 3)
    with torch.autocast("cpu", dtype):
        with exact_settings("cpu"):
            assert torch.nn.functional.conv2d(ones, ones).dtype == torch.float32
        assert torch.nn.functional.conv2d(ones, ones).dtype == dtype


@pytest.mark.skipif(NNPACK is None, reason="this torch has no switch for NNPACK")
def test_nnpack_is_off_until_the_last_thread_has_left():
    assert torch._C._get_nnpack_enabled()
    entered, leave = threading.Event(), threading.Event()

    def other():
        with exact_settings("cpu"):
            entered.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with exact_settings("cpu"):
        assert not torch._C._get_nnpack_enabled()
        thread.start()
        entered.wait()
    assert not torch._C._get_nnpack_enabled()
    leave.set()
    thread.join()
    assert torch._C._get_nnpack_enabled()


def test_precisions_that_were_shortened_in_the_older_way_are_whole():
    in_a_process("""
matmul = torch.backends.cuda.matmul
torch.set_float32_matmul_precision("medium")
with exact_settings("cpu"):
    if hasattr(torch.backends.mkldnn, "conv"):
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
    else:
        assert torch.get_float32_matmul_precision() == "highest"
assert torch.get_float32_matmul_precision() == "medium"
matmul.allow_tf32 = True
with exact_settings("cuda"):
    assert (torch.backends.cudnn.enabled, matmul.allow_tf32) == (False, False)
assert (torch.backends.cudnn.enabled, matmul.allow_tf32) == (True, True)
""")


@pytest.mark.skipif(not NEWER, reason="of newer torch versions")
def test_precisions_that_were_shortened_in_the_newer_way_are_whole():
    in_a_process("""
conv, matmul = torch.backends.mkldnn.conv, torch.backends.cuda.matmul
torch.backends.fp32_precision = "bf16"
assert conv.fp32_precision == "bf16"
with exact_settings("cpu"):
    assert conv.fp32_precision == "ieee"
assert conv.fp32_precision == "bf16"
matmul.fp32_precision = "tf32"
with exact_settings("cuda"):
    assert (torch.backends.cudnn.enabled, matmul.fp32_precision) == (False, "ieee")
assert (torch.backends.cudnn.enabled, matmul.fp32_precision) == (True, "tf32")
""")
