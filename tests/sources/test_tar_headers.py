"""A tar comes back byte for byte: owners, times, modes, PAX fields, folders and links."""

import contextlib
import io
import tarfile
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from round_trip import through

from bitsback.errors import FormatError, InputError
from bitsback.format import sidecar
from bitsback.images.image_set import ImageSet
from bitsback.images.manifest import FilesManifest
from bitsback.keeping.rule import Policy
from bitsback.sources import tar_headers
from bitsback.sources.read import read_images
from bitsback.sources.tar import is_tar
from bitsback.sources.writers import write_images

RNG = np.random.default_rng(2)
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def png() -> bytes:
    """In a stream that zlib makes, whatever Pillow was built with."""
    import odd_kinds

    return odd_kinds.by_zlib(RNG.integers(0, 256, (9, 8, 3), np.uint8), 2)


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (9, 8, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()


def make(path, form, others=()) -> None:
    with tarfile.open(path, "w", format=form) as out:

        def add(name, content=b"", kind=tarfile.REGTYPE, link="", **fields):
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(content), kind, link
            info.mtime, info.uid, info.gid, info.mode = 1_600_000_000, 1000, 50, 0o640
            info.uname, info.gname = "ann", "staff"
            if form == tarfile.PAX_FORMAT:
                info.pax_headers = {"comment": "été", "atime": "1.5", "mtime": "1600000000.25"}
            for field, value in fields.items():
                setattr(info, field, value)
            out.addfile(info, io.BytesIO(content))

        add("empty", kind=tarfile.DIRTYPE)
        add("a.png", png())
        add("a.txt", b"seven b")
        add("deep/" + "x" * 90 + "/" + "y" * 60 + ".png", png(), mode=0o755)
        add("link.png", kind=tarfile.SYMTYPE, link="a.png")
        add("deep/up.png", kind=tarfile.SYMTYPE, link="../a.png")
        add("hard.png", kind=tarfile.LNKTYPE, link="a.png")
        add("nothing.txt", b"")
        add("b.jpg", jpeg())
        for other in others:
            add(*other)
        add("last", kind=tarfile.DIRTYPE)


@pytest.fixture
def colour(build_model):
    return build_model(channels=3, likelihood="logistic", mixtures=2)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("chunk", [1, None])
def test_a_tar_comes_back_byte_for_byte(tmp_path, colour, form, chunk):
    make(tmp_path / "a.tar", FORMATS[form])
    images = through(tmp_path / "a.tar", tmp_path / "b.tar", colour, chunk=chunk)
    assert images.kept.exact == 2
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_tar_without_images_comes_back(tmp_path, colour):
    with tarfile.open(tmp_path / "a.tar", "w") as out:
        info = tarfile.TarInfo("a.txt")
        info.size, info.mtime = 3, 99
        out.addfile(info, io.BytesIO(b"abc"))
    through(tmp_path / "a.tar", tmp_path / "b.tar", colour)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


@pytest.mark.parametrize("form", FORMATS)
def test_times_are_left_out_if_asked(tmp_path, colour, form):
    make(tmp_path / "a.tar", FORMATS[form])
    through(tmp_path / "a.tar", tmp_path / "b.tar", colour, Policy(times=False))
    with tarfile.open(tmp_path / "a.tar") as before, tarfile.open(tmp_path / "b.tar") as after:
        for one, other in zip(before, after, strict=True):
            assert (one.name, one.type, one.linkname) == (other.name, other.type, other.linkname)
            assert (one.mode, one.uid, one.uname) == (other.mode, other.uid, other.uname)
            assert other.mtime == 0
            assert not {"mtime", "atime"} & other.pax_headers.keys()
            if one.isreg():
                assert before.extractfile(one).read() == after.extractfile(other).read()


@pytest.mark.parametrize("form", FORMATS)
def test_members_that_come_back_otherwise_have_their_sizes_and_names(tmp_path, colour, form):
    make(tmp_path / "a.tar", FORMATS[form])
    policy = Policy("samples", recode_lossy=True)
    images = through(tmp_path / "a.tar", tmp_path / "b.tar", colour, policy)
    assert (images.kept.samples, images.kept.recoded) == (2, 1)
    with tarfile.open(tmp_path / "a.tar") as before, tarfile.open(tmp_path / "b.tar") as after:
        names = [info.name.replace("b.jpg", "b.png") for info in before]
        assert [info.name for info in after] == names
        for one, other in zip(before, after, strict=True):
            assert (one.mode, one.uid, one.mtime) == (other.mode, other.uid, other.mtime)
            if one.isreg() and not one.name.endswith("txt"):
                both = [
                    np.array(Image.open(tar.extractfile(info)))
                    for tar, info in ((before, one), (after, other))
                ]
                np.testing.assert_array_equal(*both)


@pytest.mark.parametrize(
    "other",
    [
        ("out", b"", tarfile.SYMTYPE, "/etc/passwd"),
        ("out", b"", tarfile.SYMTYPE, "../x"),
        ("deep/out", b"", tarfile.SYMTYPE, "../../x"),
        ("out", b"", tarfile.SYMTYPE, "a/../../x"),
        ("out", b"", tarfile.LNKTYPE, "../x"),
        ("../out", b"", tarfile.DIRTYPE),
        ("pipe", b"", tarfile.FIFOTYPE),
    ],
)
def test_nothing_leads_out_of_a_tar(tmp_path, colour, other):
    make(tmp_path / "a.tar", tarfile.GNU_FORMAT, [other])
    with pytest.raises(InputError, match=r"leads out of it|special file"):
        read_images([tmp_path / "a.tar"])
    info = tarfile.TarInfo(other[0])
    info.type, info.linkname = other[2], other[3] if len(other) > 3 else ""
    evil = info.tobuf()
    own = tarfile.TarInfo("x.png").tobuf()
    for records in ([(sidecar.TAR, evil + own), (sidecar.IMAGE, b"")], [(sidecar.TAR, evil)]):
        manifest = FilesManifest("tar", ("x.png",), ("L",), ((8, 8, 1),))
        packed = [sidecar.pack(records)]
        images = ImageSet([np.zeros((8, 8, 1), np.uint8)], False, manifest, sidecars=packed)
        with pytest.raises(FormatError, match="unsafe"):
            write_images([images], 1, tmp_path / "out.tar")
        assert not (tmp_path / "out.tar").exists()


def claiming(kind, size) -> bytes:
    """The header of a member that claims a size, which may be negative, in 12 bytes."""
    info = tarfile.TarInfo("b.png")
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = (size % 256**12 | (size >= 0) << 95).to_bytes(12, "big")
    block[148:156] = tar_headers._checksum(bytes(block))
    return bytes(block)


HOSTILE = {
    "size -512": claiming(tarfile.REGTYPE, -512),
    "1 TB": claiming(tarfile.REGTYPE, 10**12),
    "long name of 1 TB": claiming(tarfile.GNUTYPE_LONGNAME, 10**12),
    "long name of -512": claiming(tarfile.GNUTYPE_LONGNAME, -512),
    "PAX header of 1 TB": claiming(tarfile.XHDTYPE, 10**12),
    "PAX header of -512": claiming(tarfile.XHDTYPE, -512),
}
for size in ("-1024", str(10**12), str(2**70), "1e3"):
    pax = tarfile.TarInfo("b.png")
    pax.pax_headers = {"size": size}
    HOSTILE[f"PAX size {size}"] = pax.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize("first", [b"", "member"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_size_that_a_tar_cannot_bear_out_is_refused_at_once(name, first, tmp_path):
    member = io.BytesIO()
    if first:
        with tarfile.open(fileobj=member, mode="w") as out:
            info = tarfile.TarInfo("a.txt")
            info.size = 512
            out.addfile(info, io.BytesIO(bytes(range(256)) * 2))
    before = member.getvalue()[:1024] if first else b""
    path = tmp_path / "a.tar"
    path.write_bytes(before + HOSTILE[name] + b"content".ljust(2048, b"\0"))
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            read_images([path])
        is_tar(path)
        with contextlib.suppress(FormatError):  # which a header has whose size is filled in
            tar_headers.restored(HOSTILE[name], "b.png", 7)
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 1 << 22


@given(st.text(max_size=120), st.integers(0, 1 << 36), st.integers(0, 1 << 32))
def test_what_is_left_out_of_a_header_is_filled_in(name, size, time):
    info = tarfile.TarInfo(name.replace("\0", "") or "x")
    info.size, info.mtime = size, time
    for form in FORMATS.values():
        try:
            header = info.tobuf(form, "utf-8", "surrogateescape")
        except ValueError:  # ustar has shorter fields
            continue
        thin = tar_headers.thinned(tar_headers.Gap(header, info.name, size))
        assert tar_headers.filled(tar_headers.Gap(thin, info.name, size)) == header


@given(st.binary(max_size=1500), st.sampled_from(["x.png", ""]))
def test_forged_headers_are_refused_or_are_of_the_member(header, name):
    try:
        if name:
            tar_headers.restored(header, name, 5)
        else:
            tar_headers.tail(header)
    except FormatError:
        return
    assert not name
