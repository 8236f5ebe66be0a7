"""Lossless image compression with latent variable models, by bits-back coding.

`compress`, `decompress`, `open`, `payload_of`, `rate` and `load_model` are the interface.
`lossy_encode` and `lossy_decode` write and read files that keep only the first latents of an image.
`check_model` looks at a model of one's own.
Importing this package imports neither torch nor a model.
"""

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
