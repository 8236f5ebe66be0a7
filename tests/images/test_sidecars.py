"""Alpha, 16 bits and metadata come back: from files of every kind, through a whole archive."""

import io
import struct
import zlib
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, PngImagePlugin, TiffImagePlugin, TiffTags

import bitsback
import bitsback.lossy.files
from bitsback.archive.reader import Reader
from bitsback.archive.writer import compress_set
from bitsback.benchmarks import files as benches
from bitsback.chunks.plan import Settings
from bitsback.errors import FormatError, InputError
from bitsback.format import sidecar
from bitsback.images import bit_depth, image_file, metadata, png
from bitsback.images.image_set import first_images, part, picked, to_array
from bitsback.keeping import lossy, rule
from bitsback.keeping.rule import DEFAULT, PIXELS, Policy
from bitsback.sources.read import read_images
from bitsback.sources.writers import write_images
from bitsback.tiles import channels as planes

RNG = np.random.default_rng(3)
ICC = b"\0\0\0\x80 a colour profile, of no colours" + bytes(100)
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def pixels(*shape):
    return RNG.integers(0, 256, shape, np.uint8)


def exif() -> bytes:
    found = Image.Exif()
    found[0x010E] = "a description"
    found[0x8769] = {36867: "2020:02:03 04:05:06", 33434: (1, 200)}
    found[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    return found.tobytes()


def tags(image):
    found = image.getexif()
    own = {tag: value for tag, value in found.items() if tag == 0x010E}
    return own, found.get_ifd(0x8769), found.get_ifd(0x8825)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def own_chunks(path):
    """Types and contents of all chunks that are not the pixels', and where the pixels lie."""
    found = []
    for kind, content in png.chunks(path.read_bytes()):
        if kind not in (b"IHDR", b"IEND", b"PLTE", b"tRNS") and found[-1:] != [(kind, b"")]:
            found.append((kind, b"" if kind == b"IDAT" else content))
    return found


@pytest.fixture
def colour(build_model):
    return build_model(channels=3, likelihood="logistic", mixtures=2)


def through(paths, output, model, policy=DEFAULT, **options):
    """Compress files, decompress them, write them; with `PIXELS` as versions before 5 did."""
    with mock.patch.object(rule, "_pixels_of", lossy.recode):
        data = compress_set(read_images(paths, policy), model, **options).data
    with Reader(io.BytesIO(data), lambda *_: model) as reader:
        write_images(reader.restored(), len(reader), output)
        return data, [each.copy() for each in reader]


@settings(max_examples=200, deadline=None)
@given(
    levels=hnp.arrays(np.uint16, st.tuples(st.integers(1, 5), st.integers(1, 5))),
    zeros=st.integers(0, 15),
    least=st.integers(0, 15),
)
def test_levels_of_any_depth_come_back(levels, zeros, least):
    levels = levels >> np.uint16(least) << np.uint16(zeros)
    high, low = bit_depth.high(levels), bit_depth.low(levels)
    assert high.dtype == np.uint8
    np.testing.assert_array_equal(bit_depth.join(high, low), levels)
    assert bit_depth.join(high, low).dtype == np.uint16
    if low[1]:
        assert high.max() > 127  # all of the 8 bits are used


def test_low_bits_take_no_more_than_there_are():
    noise = RNG.integers(0, 1 << 12, (40, 40)).astype(np.uint16)
    assert len(bit_depth.low(noise)) == 3 + 40 * 40 * 4 // 8
    assert len(bit_depth.low(noise << 4)) == 3 + 40 * 40 * 4 // 8
    assert len(bit_depth.low(noise >> 4)) == 3
    ramp = np.arange(1600, dtype=np.uint16).reshape(40, 40)
    assert len(bit_depth.low(ramp)) < 40 * 40 * 3 // 8


@pytest.mark.parametrize(
    "damage",
    [b"", b"\0\4", b"\0\4\0", b"\0\4\2" + bytes(8), b"\x0f\4\0" + bytes(8), b"\0\x09\0", b"\0\4\1"],
)
def test_damaged_low_bits_are_a_format_error(damage):
    high = pixels(4, 4)
    with pytest.raises(FormatError):
        bit_depth.join(high, damage)


@pytest.mark.parametrize(("zeros", "width"), [(4, 8), (8, 0)])
def test_low_bits_of_another_depth_do_not_overflow(zeros, width):
    levels = np.full((4, 4), 0xFFFF >> (8 - width) << zeros & 0xFFFF, np.uint16)
    data = bit_depth.low(levels >> np.uint16(zeros))
    with pytest.raises(FormatError):
        bit_depth.join(np.full((4, 4), 255, np.uint8), bytes([zeros + 1]) + data[1:])


records = st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.binary(max_size=300)))


@given(st.lists(records, max_size=4))
def test_records_come_back(of_images):
    packed = [sidecar.pack(each) for each in of_images]
    assert [sidecar.unpack(data) for data in packed] == of_images
    data = sidecar.pack_all(packed)
    assert sidecar.unpack_all(data, len(packed)) == (packed if any(packed) else None)
    if data:
        for wrong in (data[:-1], data + b"\0"):
            with pytest.raises(FormatError):
                sidecar.unpack_all(wrong, len(packed))


@given(st.text(st.characters(codec="utf-8")), st.binary())
def test_members_come_back(name, content):
    kind, data = sidecar.pack_file(name, content)
    assert kind == sidecar.FILE
    assert sidecar.unpack_file(data) == (name, content)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))))
def test_planes_make_the_image(image):
    found = planes.split(image)
    assert {plane.shape[2] for plane in found} <= {1, 3}
    np.testing.assert_array_equal(np.concatenate(found, 2), image)
    for channels in (1, 3):
        expected = [plane.shape for plane in found if plane.shape[2] == channels]
        assert planes.shapes([image.shape], channels) == expected


MODES = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}


def test_a_folder_of_every_mode_comes_back(tmp_path, colour):
    source = tmp_path / "in"
    source.mkdir()
    for number, (mode, channels) in enumerate(MODES.items()):
        Image.fromarray(pixels(9 + number, 11, *channels)).save(source / f"{mode}.png")
        Image.fromarray(pixels(7, 5 + number, *channels)).save(source / f"{mode}.tif")
    Image.fromarray(pixels(8, 8, 4)).save(source / "clear.webp", lossless=True, exact=True)
    deep = RNG.integers(0, 1 << 16, (9, 12)).astype(np.uint16)
    Image.fromarray(deep).save(source / "deep.png")
    Image.fromarray(deep >> 4).save(source / "less deep.tif")
    Image.fromarray(pixels(6, 6) > 99).save(source / "bits.png")
    _, found = through(
        [source], tmp_path / "out", colour, chunk=5, settings=Settings(always_chain=True)
    )
    names = sorted(path.name for path in source.iterdir())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    webp = [folder / "clear.webp" for folder in (source, tmp_path / "out")]
    assert webp[0].read_bytes() == webp[1].read_bytes()
    for name, held in zip(names, found, strict=True):
        with Image.open(source / name) as before, Image.open(tmp_path / "out" / name) as after:
            assert before.mode == after.mode
            expected = np.array(before)
            np.testing.assert_array_equal(np.array(after), expected)
        if name != "bits.png":
            np.testing.assert_array_equal(held.squeeze(), expected)
            assert held.dtype == expected.dtype


@pytest.mark.parametrize("channels", [2, 4])
def test_arrays_with_alpha_come_back(colour, channels):
    images = pixels(5, 9, 9, channels)
    back = bitsback.decompress(bitsback.compress(images, colour, chunk=2), colour)
    np.testing.assert_array_equal(back, images)


def test_a_gray_model_takes_gray_and_alpha_only(build_model):
    gray = build_model(likelihood="logistic", mixtures=2)
    images = pixels(3, 8, 8, 2)
    np.testing.assert_array_equal(
        bitsback.decompress(bitsback.compress(images, gray), gray), images
    )
    with pytest.raises(InputError, match="gray images only"):
        bitsback.compress(pixels(3, 8, 8, 4), gray)


def palette(**options) -> Image.Image:
    image = Image.fromarray(pixels(6, 7) % 4, "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    return image


@pytest.mark.parametrize(
    ("make", "mode"),
    [
        (lambda p: palette().save(p, transparency=2), "RGBA"),
        (lambda p: palette().save(p), "RGB"),
        (lambda p: Image.fromarray(pixels(6, 7)).save(p, transparency=9), "LA"),
        (lambda p: Image.fromarray(pixels(6, 7, 3)).save(p, transparency=(1, 2, 3)), "RGBA"),
        (lambda p: Image.fromarray(pixels(6, 7) > 9).save(p, transparency=0), "LA"),
    ],
)
def test_what_is_seen_of_palettes_and_clear_colours_is_kept(tmp_path, colour, make, mode):
    make(tmp_path / "a.png")
    through([tmp_path / "a.png"], tmp_path / "b.png", colour, PIXELS)
    with Image.open(tmp_path / "a.png") as before, Image.open(tmp_path / "b.png") as after:
        assert after.mode == mode
        np.testing.assert_array_equal(
            np.array(before.convert("RGBA")), np.array(after.convert("RGBA"))
        )


def test_every_chunk_of_a_png_comes_back_where_it_was(tmp_path, colour):
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a title")
    text.add_text("Long", "a text" * 99, zip=True)
    text.add_itxt("Comment", "π", lang="el")
    Image.fromarray(pixels(9, 9, 3)).save(
        tmp_path / "a.png", pnginfo=text, icc_profile=ICC, exif=exif(), dpi=(300, 300)
    )
    data = (tmp_path / "a.png").read_bytes()
    end = len(data) - 12
    extra = png_chunk(b"tIME", bytes([7, 228, 2, 3, 4, 5, 6])) + png_chunk(b"tEXt", b"Late\0word")
    unsafe = png_chunk(b"prVT", b"of pixels")  # to copy, but not with the very pixels
    data = data[:33] + png_chunk(b"gAMA", struct.pack(">I", 45455)) + data[33:end] + extra
    (tmp_path / "a.png").write_bytes(
        data + unsafe + png_chunk(b"prVt", b"x") + png_chunk(b"IEND", b"")
    )
    through([tmp_path / "a.png"], tmp_path / "b.png", colour)
    before, after = own_chunks(tmp_path / "a.png"), own_chunks(tmp_path / "b.png")
    assert after == before
    assert len(after) > 9
    with Image.open(tmp_path / "b.png") as image:
        image.load()
        assert image.text == {
            "Title": "a title",
            "Long": "a text" * 99,
            "Comment": "π",
            "Late": "word",
        }
        assert image.info["icc_profile"] == ICC


def test_chunks_in_terms_of_a_palette_are_dropped_with_it(tmp_path, colour):
    palette().save(tmp_path / "a.png", icc_profile=ICC)
    data = (tmp_path / "a.png").read_bytes()
    place = data.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(data[:place] + png_chunk(b"bKGD", b"\1") + data[place:])
    through([tmp_path / "a.png"], tmp_path / "b.png", colour, PIXELS)
    assert [kind for kind, _ in own_chunks(tmp_path / "b.png")] == [b"iCCP", b"IDAT"]


@pytest.mark.parametrize(
    ("name", "written", "options"),
    [
        ("a.webp", "b.webp", {"lossless": True, "exact": True, "xmp": XMP}),
        ("a.webp", "b.png", {"lossless": True, "exact": True, "xmp": XMP}),
        ("a.jpg", "b.png", {"xmp": XMP}),
        ("a.tif", "b.tif", {}),
        ("a.tif", "b.png", {}),
    ],
)
def test_exif_profile_and_xmp_come_back(tmp_path, colour, name, written, options):
    image = Image.fromarray(pixels(16, 16, 3))
    image.save(tmp_path / name, exif=exif(), icc_profile=ICC, **options)
    through([tmp_path / name], tmp_path / written, colour, PIXELS)
    with Image.open(tmp_path / name) as before, Image.open(tmp_path / written) as after:
        np.testing.assert_array_equal(np.array(after), np.array(before))
        assert after.info["icc_profile"] == ICC
        assert tags(after) == tags(before)
        assert tags(after)[2] == {1: "N", 2: (1.0, 2.0, 3.0)}
        if "xmp" in options:
            xmp = after.info["xmp"]
            assert (xmp if isinstance(xmp, bytes) else xmp.encode()) == XMP


def test_a_file_under_a_wrong_name_keeps_it(tmp_path, colour):
    source = tmp_path / "in"
    source.mkdir()
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a title")
    Image.fromarray(pixels(5, 5)).save(source / "a.bmp", "PNG", pnginfo=text)
    through([source], tmp_path / "out", colour)
    with Image.open(tmp_path / "out" / "a.bmp") as image:
        assert image.format == "PNG"
        assert image.text == {"Title": "a title"}
    with pytest.raises(InputError, match=r"name the output \*\.png"):
        through([source / "a.bmp"], tmp_path / "c.tif", colour)
    assert not (tmp_path / "c.tif").exists()


@pytest.mark.parametrize("late", [False, True])
def test_a_damaged_chunk_of_metadata_comes_back(tmp_path, colour, late):
    Image.fromarray(pixels(5, 5)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    place = len(data) - 12 if late else 33
    text = png_chunk(b"prVt", b"a title").replace(b"title", b"TITLE")
    (tmp_path / "a.png").write_bytes(data[:place] + text + data[place:])
    through([tmp_path / "a.png"], tmp_path / "b.png", colour)
    assert text in (tmp_path / "b.png").read_bytes()
    with mock.patch.object(rule, "_pixels_of", lossy.recode):
        (found,) = read_images([tmp_path / "a.png"], PIXELS).kept.carried
    assert found.name == "a.png"


def test_tags_of_any_kind_come_back(tmp_path, colour):
    """Of a GeoTIFF, and some that nobody knows."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info.tagtype[33550] = TiffTags.DOUBLE
    info[33550] = (0.5, 0.25, 0.0)
    info.tagtype[34735] = TiffTags.SHORT
    info[34735] = (1, 1, 0, 7)
    info[42113] = "nan"
    info.tagtype[65001] = TiffTags.UNDEFINED
    info[65001] = b"\0\1\2"
    info[282] = info[283] = 300.0
    Image.fromarray(pixels(6, 6)).save(tmp_path / "a.tif", tiffinfo=info)
    through([tmp_path / "a.tif"], tmp_path / "b.tif", colour, PIXELS)
    layout = {256, 257, 258, 259, 262, 273, 277, 278, 279, 284}
    kept = []
    for path in (tmp_path / "a.tif", tmp_path / "b.tif"):
        with Image.open(path) as image:
            tags = dict(image.tag_v2)
        kept.append({tag: value for tag, value in tags.items() if tag not in layout})
    assert kept[0] == kept[1]
    assert {33550, 34735, 42113, 65001, 282} <= kept[0].keys()


def test_metadata_that_could_not_be_written_again_are_not_dropped(tmp_path, monkeypatch):
    Image.fromarray(pixels(5, 5)).save(tmp_path / "a.jpg", exif=exif())
    monkeypatch.setattr(metadata, "options_for", lambda kind, records: {"exif": 7})
    (found,) = read_images([tmp_path / "a.jpg"], Policy(recode_lossy=True)).kept.carried
    assert "its metadata cannot be kept" in found.reason


@pytest.mark.parametrize("turn", range(2, 9))
def test_exif_turns_no_pixels(tmp_path, colour, turn):
    found = Image.Exif()
    found[274] = turn
    Image.fromarray(pixels(5, 6)).save(tmp_path / "a.tif", "JPEG", exif=found)
    through([tmp_path / "a.tif"], tmp_path / "b.png", colour, Policy(recode_lossy=True))
    with Image.open(tmp_path / "a.tif") as before, Image.open(tmp_path / "b.png") as after:
        np.testing.assert_array_equal(np.array(after), np.array(before))
        assert after.getexif()[274] == turn


def test_equal_profiles_of_a_folder_are_paid_for_once(tmp_path, colour):
    profile = RNG.bytes(3000)
    sizes = []
    for count in (1, 12):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(12):
            options = {"icc_profile": profile} if number < count else {}
            Image.fromarray(pixels(8, 8, 3)).save(folder / f"{number:02}.png", **options)
        sizes.append(len(compress_set(read_images([folder]), colour).data))
    assert sizes[1] - sizes[0] < 2000


def test_a_part_of_a_set_has_what_lies_beside_it(tmp_path):
    for number in range(4):
        levels = np.full((5, 5), 1000 + number, np.uint16)
        Image.fromarray(levels).save(tmp_path / f"{number}.png")
    images = read_images([tmp_path])
    assert to_array(picked(images, [1, 3])).ravel()[[0, 25]].tolist() == [1001, 1003]
    assert to_array(part(images, 2, 4)).ravel()[[0, 25]].tolist() == [1002, 1003]
    assert to_array(first_images(images, 2)).max() == 1001


def test_lost_low_bits_are_a_format_error():
    with pytest.raises(FormatError, match="lacks its low bits"):
        image_file.full_depth(pixels(3, 3, 1), image_file.DEEP, b"")


def test_a_comparison_is_of_pixels_alone(tmp_path, colour):
    pytest.importorskip("imagecodecs")
    values, sizes = pixels(16, 16, 3), []
    for name, options in (("a.png", {}), ("b.png", {"icc_profile": RNG.bytes(999)})):
        Image.fromarray(values).save(tmp_path / name, **options)
        images = read_images([tmp_path / name], PIXELS)
        sizes.append(benches.run(images, colour).rows[0].size)
    assert sizes[0] == sizes[1]


def test_lossy_files_and_comparisons_take_plain_images_only(tmp_path, colour):
    Image.fromarray(pixels(8, 8, 4)).save(tmp_path / "a.png")
    Image.fromarray(np.full((8, 8), 999, np.uint16)).save(tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        images = read_images([tmp_path / name])
        for refuse in (
            lambda images: benches.run(images, colour),
            lambda images: bitsback.lossy.files.stacked(images, True),
            lambda images: bitsback.lossy.files.tiles(images, 4, None),
        ):
            with pytest.raises(InputError, match="without alpha"):
                refuse(images)


kinds = st.sampled_from(
    [
        b"EXIF",
        b"ICCP",
        b"XMP_",
        b"LOW_",
        b"IDAT",
        b"PIC_",
        b"FILE",
        b"tEXt",
        b"iCCP",
        b"gAMA",
        b"eXIf",
        b"IHDR",
        b"PLTE",
        b"tRNS",
        b"IEND",
        b"acTL",
        b"prVt",
        b"pHYs",
        b"\x00\x00\x00\x00",
    ]
)
contents = st.one_of(st.binary(max_size=40), st.sampled_from([exif(), ICC, XMP, bytes(13)]))


@settings(max_examples=300, deadline=None)
@given(
    held=st.lists(st.tuples(kinds, contents), max_size=4),
    suffix=st.sampled_from([".png", ".tif", ".webp", ".bmp"]),
    mode=st.sampled_from(["RGB", "RGBA", "L"]),
)
def test_forged_records_are_an_error_or_the_right_pixels(held, suffix, mode):
    values = pixels(5, 6, image_file.CHANNELS[mode])
    file = io.BytesIO()
    try:
        image_file.write_image(file, values, mode, suffix, sidecar.pack(held))
    except (FormatError, InputError):
        assert not file.getvalue()
        return
    back = image_file.decode_image(file, "back")
    assert back.mode == mode
    np.testing.assert_array_equal(back.pixels, values)
