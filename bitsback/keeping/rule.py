"""The rule: what becomes of a file, decided before it is coded.

A file's bytes become pixels and a recipe, and the recipe is followed at once. If it gives the same
bytes, the pixels are coded. If it gives other bytes but the same samples and everything beside
them, the pixels are coded, too, and the file is counted as such. Any other file travels as it is:
one of a format that nobody thought of, a damaged one, and one whose pixels would take more.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from bitsback.errors import FormatError, InputError
from bitsback.format.sidecar import Record
from bitsback.images.outcomes import LARGER, Outcome

from . import cost, deflate, lossy, png, proof, raw, webp
from .coded import Coded, Levels, NotKept
from .raw_headers import InPieces
from .tiff import code as tiff

Keep = Literal["auto", "samples", "files"]
WAYS: tuple[Keep, ...] = get_args(Keep)


@dataclass(frozen=True)
class Policy:
    """What the caller wants back.

    Args:
        keep: "auto" for the rule; "samples" if samples and metadata are enough, so that no recipe
            is kept for bytes, and all pixels that can be coded are, whatever they take; "files" if
            bytes must come back, so that what has no recipe for them travels as it is.
        recode_lossy: whether lossy files become PNGs of their decoded pixels.
        times: whether times of modification are kept.
        pixels_only: whether nothing but pixels is wanted, as of what is only measured.
        first: whether of a file of several images the pixels of the first will do.
    """

    keep: Keep = "auto"
    recode_lossy: bool = False
    times: bool = True
    pixels_only: bool = False
    first: bool = False


def way(keep: str, recode_lossy: bool = False, times: bool = True) -> Policy:
    """The policy of a caller's words.

    Raises:
        InputError: there is no such way to keep files.
    """
    for known in WAYS:
        if keep == known:
            return Policy(known, recode_lossy, times)
    raise InputError(f"keep is one of {', '.join(WAYS)}, not {keep!r}")


DEFAULT = Policy()
PIXELS = Policy(recode_lossy=True, pixels_only=True)
SHOWN = replace(PIXELS, first=True)


@dataclass(frozen=True)
class Rule:
    """The rule for the files of a set, which learns settings from one file for the next."""

    policy: Policy = DEFAULT
    search: deflate.Search = field(default_factory=deflate.Search)

    def examine(self, data: bytes) -> Coded:
        """A file as pixels and recipe, proven.

        Raises:
            NotKept: it travels as it is; the message says why.
        """
        try:
            return self._examine(data)
        except (NotKept, MemoryError):
            raise
        except Exception as error:  # no file, however odd, may stop a set
            raise NotKept(f"could not be examined ({type(error).__name__}: {error})") from error

    def _examine(self, data: bytes) -> Coded:
        coded = self._code(data)
        if self.policy.pixels_only:
            return coded
        if coded.outcome is Outcome.EXACT and not coded.proven:
            if write(coded.levels, coded.mode, coded.records) != (data, True):
                raise NotKept("does not come back from its pixels")
        elif coded.outcome is Outcome.SAMPLES:
            other = write(coded.levels, coded.mode, coded.records, compared=True)[0]
            _check_same(data, other)
        if self.policy.keep == "files" and coded.outcome is not Outcome.EXACT:
            raise NotKept("does not come back byte for byte from its pixels")
        may_grow = self.policy.keep == "samples" or coded.outcome is Outcome.RECODED
        if not may_grow and cost.is_larger(coded, data):
            raise NotKept(LARGER)
        return coded

    def again(self, data: bytes, outcome: Outcome, hint: tuple[int, ...]) -> Coded:
        """What `examine` gave of a file, without the search and the proof."""
        if self.policy.pixels_only:
            return _pixels_of(data, self.policy.first)
        if outcome is Outcome.RECODED:
            return lossy.recode(data)
        if data.startswith(png.SIGNATURE):
            return png.code(data, None, deflate.Settings(*hint) if hint else None)
        if webp.is_webp(data):
            return webp.code(data, True, hint)
        try:
            return raw.code(data)
        except InPieces:
            return tiff.code(data, None, deflate.Settings(*hint) if hint else None)

    def _code(self, data: bytes) -> Coded:
        if self.policy.pixels_only:
            return _pixels_of(data, self.policy.first)
        if self.policy.recode_lossy and lossy.reason(data) is not None:
            return lossy.recode(data)
        return _code(data, self.search if self.policy.keep != "samples" else None)


def _code(data: bytes, search: deflate.Search | None) -> Coded:
    """A file of a lossless format as pixels and recipe, where `search` finds what gives bytes."""
    if data.startswith(png.SIGNATURE):
        return png.code(data, search)
    if (reason := lossy.reason(data)) is not None:
        raise NotKept(reason)
    if webp.is_webp(data):
        return webp.code(data, search is None)
    try:
        return raw.code(data)
    except InPieces:
        return tiff.code(data, search)


def _check_same(data: bytes, other: bytes) -> None:
    """Raise NotKept unless a file holds what another of its format does."""
    if data.startswith(png.SIGNATURE):
        proof.check_same(data, other)
    elif webp.is_webp(data):
        webp.check_same(data, other)
    else:
        tiff.check_same(data, other)


def _pixels_of(data: bytes, first: bool) -> Coded:
    """A file's levels as they are, or, where these are not coded, the pixels that it shows."""
    try:
        return replace(_code(data, None), records=())
    except NotKept:
        return lossy.recode(data, first)


_RECIPES = (png.KIND, raw.KIND, tiff.KIND, webp.KIND)


def has_recipe(records: Iterable[Record]) -> bool:
    """Whether a sidecar tells how to write its file."""
    return any(kind in _RECIPES for kind, _ in records)


def write(
    levels: Levels, mode: str, records: tuple[Record, ...], *, compared: bool = False
) -> tuple[bytes, bool]:
    """The file of a recipe, and whether it has the bytes that it should have.

    Args:
        levels: (H, W, C), 0 and not 0 of mode "1".
        records: the sidecar's, with one recipe.
        compared: whether the file is only compared with another, so that it need not be small.

    Returns:
        The bytes; and whether they are those that the recipe promises, if it promises any.

    Raises:
        FormatError: the recipe is damaged.
    """
    for kind, recipe in records:
        match kind:
            case png.KIND:
                return png.write(levels, mode, recipe, compared=compared)
            case raw.KIND:
                return raw.write(levels, mode, recipe)
            case tiff.KIND:
                return tiff.write(levels, mode, recipe)
            case webp.KIND:
                return webp.write(levels, mode, recipe)
    raise FormatError("a file's recipe is missing")
