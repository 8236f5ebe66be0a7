"""The exceptions that bitsback raises on purpose, all under one root."""


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


class ModelError(BitsbackError):
    """A model that is missing, malformed, or not the one that a file needs."""
