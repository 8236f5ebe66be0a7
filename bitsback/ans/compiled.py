"""Where the coder's compiled loops come from: numba, if it is installed; NumPy serves elsewhere.

Both ways give the same words, symbols and errors, bit for bit. The environment's
BITSBACK_KERNELS=0, or `enabled = False` here, keeps to NumPy. So does anything that goes wrong
with numba: a broken installation, or no folder in which it may keep what it has compiled (it takes
the package's own, the user's, or NUMBA_CACHE_DIR), as compiling in each process would cost more
than it gains.
"""

from __future__ import annotations

import functools
import importlib
import os
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

enabled = os.environ.get("BITSBACK_KERNELS") != "0"


def loops(folder: str) -> ModuleType | None:
    """The compiled loops of a folder, or None where NumPy is to do without.

    Args:
        folder: "ans", "tables" or "side". The first use in a process imports numba; the
            first on a machine compiles for some seconds.
    """
    return _load(folder) if enabled else None


def plain(values: ArrayLike, dtype: Any = np.int64) -> NDArray[Any]:
    """The values as the loops take them: of this dtype, contiguous and aligned."""
    array = np.asarray(values, dtype)
    flags = array.flags
    # np.require does this too, ten times slower
    return array if flags.c_contiguous and flags.aligned else array.copy()


@functools.cache
def _load(folder: str) -> ModuleType | None:
    try:
        numba = importlib.import_module("numba")
        if numba.config.DISABLE_JIT:
            return None
        return importlib.import_module(f"bitsback.{folder}.loops")
    except Exception:
        return None
