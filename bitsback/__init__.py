"""Lossless image compression with latent variable models, by bits-back coding.

`compress`, `decompress`, `open`, `payload_of`, `rate` and `load_model` are the interface.
`lossy_encode` and `lossy_decode` write and read files that keep only the first latents of an image.
`check_model` looks at a model of one's own.
Importing this package imports neither torch nor a model.
"""

from typing import TYPE_CHECKING, Any

from .api import (
    compress,
    decompress,
    load_model,
    lossy_decode,
    lossy_encode,
    open,
    payload_of,
    rate,
)
from .errors import (
    BitsbackError,
    ChecksumError,
    CoverageWarning,
    EmptyMessageError,
    FormatError,
    InputError,
    ModelError,
)

if TYPE_CHECKING:
    from .testing import check_model

__version__ = "0.1.0"

__all__ = [
    "BitsbackError",
    "ChecksumError",
    "CoverageWarning",
    "EmptyMessageError",
    "FormatError",
    "InputError",
    "ModelError",
    "check_model",
    "compress",
    "decompress",
    "load_model",
    "lossy_decode",
    "lossy_encode",
    "open",
    "payload_of",
    "rate",
]


def __getattr__(name: str) -> Any:
    # Training needs none of what the check does.
    if name == "check_model":
        from .testing import check_model

        return check_model
    raise AttributeError(f"module 'bitsback' has no attribute {name!r}")
