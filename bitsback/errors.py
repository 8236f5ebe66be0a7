"""The exceptions that bitsback raises on purpose, all under one root; how a program ends on one."""

import contextlib
import operator
import sys
from collections.abc import Iterator
from typing import Any, NoReturn


class BitsbackError(Exception):
    """Root of every error that a caller of bitsback is expected to handle."""


class EmptyMessageError(BitsbackError):
    """A pop asked for more bits than the message holds."""

    def __init__(self, missing_bits: int) -> None:
        super().__init__(
            f"the message is empty: {missing_bits} more bits were needed; "
            "start it with more initial bits"
        )
        self.missing_bits = missing_bits


class FormatError(BitsbackError):
    """Bytes that are not a readable bitsback file: foreign, truncated, or of another version."""


class ChecksumError(FormatError):
    """A file whose header, message or decoded pixels do not have their recorded checksum."""


class InputError(BitsbackError):
    """Images that cannot be coded as given: wrong dtype, dimensions or values, or an empty set."""


class CoverageWarning(UserWarning):
    """A model asks for distributions beyond the coder's tables, which clip them."""


class ModelError(BitsbackError):
    """A model that is missing, malformed, or not the one that a file needs."""


def whole_number(value: Any, name: str) -> int:
    """A caller's whole number, of any type that is one, such as NumPy's.

    Raises:
        InputError: it is not whole; the sentence calls it by its name.
    """
    try:
        return operator.index(value)
    except TypeError as error:
        raise InputError(f"the {name} must be an integer, not {value!r}") from error


def plain_bytes(value: Any, name: str) -> bytes:
    """A caller's bytes.

    Raises:
        InputError: they are none; the sentence calls them by their name.
    """
    if not isinstance(value, bytes | bytearray | memoryview):
        raise InputError(f"the {name} must be bytes, not {type(value).__name__}")
    return value if isinstance(value, bytes) else bytes(value)


#: exit codes: a check failed; usage, or what a command was given; a damaged or foreign file
MISMATCH, REFUSED, DAMAGED = 1, 2, 3


def refuse(reason: str, code: int = REFUSED) -> NoReturn:
    """End the program with one line on standard error and this exit code."""
    print(f"bitsback: {' '.join(reason.split())}", file=sys.stderr)
    raise SystemExit(code)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Within it, a BitsbackError ends the program as `refuse` does; a FormatError with DAMAGED."""
    try:
        yield
    except FormatError as error:
        refuse(str(error), DAMAGED)
    except BitsbackError as error:
        refuse(str(error))
