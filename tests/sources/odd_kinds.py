"""Odd files of some 60 kinds, small, each by its name."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

Make = Callable[[], bytes]
SIDE = 48


def smooth(*shape: int, highest: int = 255) -> np.ndarray:
    """Levels (H, W, ...) of a soft pattern with some noise: worth coding."""
    random = np.random.default_rng(sum(shape))
    rows = np.arange(shape[0])[:, None] / 7.0
    columns = np.arange(shape[1])[None, :] / 5.0
    wave = 0.5 + 0.4 * np.sin(rows + columns)
    if len(shape) == 3:
        wave = wave[:, :, None] * np.linspace(0.7, 1.0, shape[2])
    noisy = wave * highest + random.integers(0, max(2, highest // 40), shape)
    return noisy.clip(0, highest).astype(np.uint8 if highest < 256 else np.uint16)


def planes(count: int, highest: int = 255) -> np.ndarray:
    return np.ascontiguousarray(smooth(SIDE, SIDE, count, highest=highest).transpose(2, 0, 1))


def saved(kind: str, array: np.ndarray | Image.Image, **options) -> bytes:
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiff(array: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png(array: np.ndarray | None = None, **options) -> bytes:
    """By Pillow, its stream by Python's zlib, whatever Pillow was built with."""
    data = saved("PNG", smooth(SIDE, SIDE, 3) if array is None else array, **options)
    begin, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    size = int.from_bytes(data[begin : begin + 4], "big")
    stream = zlib.compress(zlib.decompress(data[begin + 8 : begin + 8 + size]))
    return data[:begin] + chunk(b"IDAT", stream) + data[end:]


def by_no_zlib() -> bytes:
    """A stream of two blocks where zlib makes one."""
    whole = by_zlib(smooth(SIDE, SIDE, 3), 2)
    raw = zlib.decompress(whole[41:-16])
    packer = zlib.compressobj(6)
    stream = packer.compress(raw[:999]) + packer.flush(zlib.Z_SYNC_FLUSH)
    return (
        whole[:33]
        + chunk(b"IDAT", stream + packer.compress(raw[999:]) + packer.flush())
        + (chunk(b"IEND", b""))
    )


def by_zlib(
    array: np.ndarray,
    colour: int,
    depth: int = 8,
    *,
    level: int = 6,
    strategy: int = 0,
    memory: int = 8,
    sizes: int = 1 << 30,
    filters: str = "cycle",
    interlaced: int = 0,
    behind: bytes = b"",
    before: bytes = b"",
) -> bytes:
    """A PNG by hand: (H, W, C) samples, each row with the next filter, zlib as told."""
    from bitsback.keeping import png_rows

    height, width = array.shape[:2]
    samples = array.reshape(height, width, -1)
    step, raw = max(1, samples.shape[2] * depth // 8), b""
    for where in png_rows.passes(height, width, bool(interlaced)):
        rows = png_rows.packed(samples[where], depth)
        kinds = np.arange(len(rows)) % 5 if filters == "cycle" else np.full(len(rows), int(filters))
        raw += png_rows.filtered(rows, kinds.astype(np.uint8), step)
    packer = zlib.compressobj(level, 8, 15, memory, strategy)
    stream = packer.compress(raw) + packer.flush() + behind
    cut = [stream[i : i + sizes] for i in range(0, len(stream), sizes)]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    contents = b"".join(chunk(b"IDAT", each) for each in cut)
    return b"\x89PNG\r\n\x1a\n" + head + before + contents + chunk(b"IEND", b"")


def with_chunk(kind: bytes, content: bytes, end: bool = False) -> bytes:
    whole = by_zlib(smooth(SIDE, SIDE, 3), 2)
    place = len(whole) - 12 if end else 33
    return whole[:place] + chunk(kind, content) + whole[place:]


def indexed(depth: int, clear: bytes = b"", **options) -> bytes:
    """A PNG with a palette, of indices of some bits, the first colours of which are clear."""
    indices = smooth(SIDE, SIDE - 1, highest=2**depth - 1)
    colours = bytes(n * 37 % 256 for n in range(3 << depth))
    before = chunk(b"PLTE", colours) + (chunk(b"tRNS", clear) if clear else b"")
    return by_zlib(indices, 3, depth, before=before, **options)


def palette(colours: int = 4, **options) -> bytes:
    image = Image.fromarray(smooth(SIDE, SIDE, highest=colours - 1), "P")
    image.putpalette([n * 7 % 256 for n in range(3 * colours)])
    return saved("PNG", image, **options)


def class_mask() -> bytes:
    ids = np.array([0, 1, 15, 255], np.uint8)[smooth(SIDE, SIDE, highest=3)]
    colours = bytes(n * 37 % 256 for n in range(768))
    return by_zlib(ids, 3, before=chunk(b"PLTE", colours), filters="0")


def frames(kind: str) -> bytes:
    first, second = (Image.fromarray(smooth(24 + n, 24 + n, 3)) for n in (0, 0))
    second = second.rotate(90)
    return saved(kind, first, save_all=True, append_images=[second])


def with_sub_ifd() -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as out:
        out.write(smooth(32, 32, 3), photometric="rgb", subifds=1)
        out.write(smooth(16, 16, 3), photometric="rgb")
    return file.getvalue()


def pages() -> bytes:
    return tiff(np.stack([smooth(24, 24, 3), smooth(24, 24, 3)]), photometric="rgb")


def jpeg(**options) -> bytes:
    return saved("JPEG", smooth(SIDE, SIDE, 3), quality=85, **options)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def text_of_png() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "a title")
    info.add_itxt("Comment", "π", lang="el")
    return info


def exif(**tags: int) -> bytes:
    found = Image.Exif()
    found[0x010E] = "a description"
    if "turn" in tags:
        found[274] = tags["turn"]
    return found.tobytes()


def deep(channels: int) -> np.ndarray:
    return smooth(SIDE, SIDE, channels, highest=65535)


KINDS: dict[str, Make] = {
    "png/RGB by zlib, level 6.png": lambda: by_zlib(smooth(SIDE, SIDE, 3), 2),
    "png/RGB by zlib, level 1.png": lambda: by_zlib(smooth(SIDE, SIDE, 3), 2, level=1),
    "png/RGB by zlib, level 9, filtered, memory 9.png": lambda: by_zlib(
        smooth(SIDE, SIDE, 3), 2, level=9, strategy=1, memory=9
    ),
    "png/RGB by zlib, run lengths.png": lambda: by_zlib(smooth(SIDE, SIDE, 3), 2, strategy=3),
    "png/RGB in small IDAT chunks.png": lambda: by_zlib(smooth(SIDE, SIDE, 3), 2, sizes=100),
    "png/RGB by another deflate.png": by_no_zlib,
    "png/gray.png": lambda: by_zlib(smooth(SIDE, SIDE), 0),
    "png/gray and alpha.png": lambda: by_zlib(smooth(SIDE, SIDE, 2), 4),
    "png/RGBA.png": lambda: by_zlib(smooth(SIDE, SIDE, 4), 6),
    "png/one bit.png": lambda: by_zlib(smooth(SIDE, SIDE + 3) > 120, 0, 1, filters="0"),
    "png/gray of 2 bits.png": lambda: by_zlib(smooth(SIDE, SIDE + 3, highest=3), 0, 2),
    "png/gray of 4 bits.png": lambda: by_zlib(smooth(SIDE, SIDE + 3, highest=15), 0, 4),
    "png/gray of 16 bits.png": lambda: by_zlib(deep(1), 0, 16),
    "png/RGB of 16 bits.png": lambda: by_zlib(deep(3), 2, 16),
    "png/gray and alpha of 16 bits.png": lambda: by_zlib(deep(2), 4, 16),
    "png/RGBA of 16 bits.png": lambda: by_zlib(deep(4), 6, 16),
    "png/class mask with a palette.png": class_mask,
    "png/palette, one clear.png": lambda: indexed(4, clear=b"\xff\0\x80"),
    "png/palette of 1 bit.png": lambda: indexed(1),
    "png/palette of 2 bits, interlaced.png": lambda: indexed(2, interlaced=1),
    "png/one clear colour.png": lambda: png(transparency=(1, 2, 3)),
    "png/bytes after IEND.png": lambda: png() + b"more",
    "png/bytes after the zlib stream.png": lambda: by_zlib(
        smooth(SIDE, SIDE, 3), 2, behind=b"more"
    ),
    "png/sPLT.png": lambda: with_chunk(b"sPLT", b"name\0\x08" + bytes(6)),
    "png/caBX.png": lambda: with_chunk(b"caBX", b"a manifest of C2PA"),
    "png/text, profile, EXIF.png": lambda: png(
        pnginfo=text_of_png(), icc_profile=bytes(200), exif=exif(), dpi=(300, 300)
    ),
    "png/private chunk at the end.png": lambda: with_chunk(b"prVT", b"of pixels", end=True),
    "png/a chunk with a wrong checksum.png": lambda: with_chunk(b"prVt", b"some").replace(
        b"some", b"SOME"
    ),
    "png/interlaced.png": lambda: by_zlib(smooth(SIDE, SIDE, 3), 2, interlaced=1),
    "png/interlaced, of 16 bits.png": lambda: by_zlib(deep(4), 6, 16, interlaced=1),
    "png/an index beyond the palette.png": lambda: by_zlib(
        smooth(SIDE, SIDE), 3, before=chunk(b"PLTE", bytes(30))
    ),
    "png/animated.png": lambda: frames("PNG"),
    "png/cut short.png": lambda: png()[:-40],
    "png/half.png": lambda: png()[: len(png()) // 2],
    "png/no image.png": lambda: b"text",
    "png/empty.png": lambda: b"",
    "png/a JPEG by name.png": jpeg,
    "jpeg/plain.jpg": jpeg,
    "jpeg/progressive.jpg": lambda: jpeg(progressive=True),
    "jpeg/gray.jpeg": lambda: saved("JPEG", smooth(SIDE, SIDE)),
    "jpeg/CMYK.jpg": lambda: saved("JPEG", Image.fromarray(smooth(SIDE, SIDE, 3)).convert("CMYK")),
    "jpeg/COM, APP13, density.jpg": lambda: jpeg(comment=b"a comment", dpi=(72, 72)),
    "jpeg/turned by EXIF.jpg": lambda: jpeg(exif=exif(turn=6)),
    "jpeg/two images (MPO).jpg": lambda: frames("MPO"),
    "gif/plain.gif": lambda: saved("GIF", smooth(SIDE, SIDE)),
    "gif/animated.gif": lambda: frames("GIF"),
    "webp/lossy.webp": lambda: saved("WEBP", smooth(SIDE, SIDE, 3), quality=80),
    "webp/lossless.webp": lambda: saved("WEBP", smooth(SIDE, SIDE, 3), lossless=True),
    "tiff/RGB.tif": lambda: tiff(smooth(SIDE, SIDE, 3), photometric="rgb"),
    "tiff/planes.tif": lambda: tiff(planes(3), photometric="rgb", planarconfig="separate"),
    "tiff/planes of 16 bits.tif": lambda: tiff(
        planes(3, 65535), photometric="rgb", planarconfig="separate"
    ),
    "tiff/planes in tiles.tif": lambda: tiff(
        planes(3), photometric="rgb", planarconfig="separate", tile=(16, 16)
    ),
    "tiff/RGB of 16 bits.tif": lambda: tiff(deep(3), photometric="rgb"),
    "tiff/gray of 16 bits, high byte first.tif": lambda: tiff(deep(1)[:, :, 0], byteorder=">"),
    "tiff/RGB and near infrared.tif": lambda: tiff(
        smooth(SIDE, SIDE, 4), photometric="rgb", extrasamples=[0]
    ),
    "tiff/five bands.tif": lambda: tiff(smooth(SIDE, SIDE, 5), photometric="rgb"),
    "tiff/six bands.tif": lambda: tiff(smooth(SIDE, SIDE, 6), photometric="rgb"),
    "tiff/RGBA and one.tif": lambda: tiff(
        smooth(SIDE, SIDE, 5), photometric="rgb", extrasamples=[2, 0]
    ),
    "tiff/gray and one.tif": lambda: tiff(
        smooth(SIDE, SIDE, 2), photometric="minisblack", extrasamples=[0], planarconfig="contig"
    ),
    "tiff/associated alpha.tif": lambda: tiff(
        smooth(SIDE, SIDE, 4), photometric="rgb", extrasamples=[1]
    ),
    "tiff/int8.tif": lambda: tiff(smooth(SIDE, SIDE).view(np.int8)),
    "tiff/white is zero.tif": lambda: tiff(smooth(SIDE, SIDE), photometric="miniswhite"),
    "tiff/SubIFDs.tif": with_sub_ifd,
    "tiff/two pages.tif": pages,
    "tiff/float32.tif": lambda: tiff(smooth(SIDE, SIDE).astype(np.float32)),
    "tiff/CMYK.tif": lambda: saved("TIFF", Image.fromarray(smooth(SIDE, SIDE, 3)).convert("CMYK")),
    "tiff/LZW.tif": lambda: saved("TIFF", smooth(SIDE, SIDE, 3), compression="tiff_lzw"),
    "tiff/deflate.tif": lambda: saved(
        "TIFF", smooth(SIDE, SIDE, 3), compression="tiff_adobe_deflate"
    ),
    "tiff/PackBits.tif": lambda: tiff(
        smooth(SIDE, SIDE, 3), photometric="rgb", compression="packbits"
    ),
    "tiff/LZW of 16 bits, differences.tif": lambda: tiff(
        deep(3), photometric="rgb", compression="lzw", predictor=True
    ),
    "tiff/deflate in tiles.tif": lambda: tiff(
        smooth(SIDE, SIDE, 3), photometric="rgb", compression="zlib", tile=(32, 32)
    ),
    "tiff/palette, LZW.tif": lambda: saved(
        "TIFF", Image.open(io.BytesIO(palette())), compression="tiff_lzw"
    ),
    "tiff/cut short.tif": lambda: tiff(smooth(SIDE, SIDE, 3), photometric="rgb")[:-900],
    "bmp/RGB, padded rows.bmp": lambda: saved("BMP", smooth(SIDE, SIDE - 1, 3)),
    "bmp/gray.bmp": lambda: saved("BMP", smooth(SIDE, SIDE)),
    "bmp/one bit.bmp": lambda: saved("BMP", smooth(SIDE, SIDE + 1) > 120),
    "bmp/palette.bmp": lambda: saved("BMP", Image.open(io.BytesIO(palette()))),
    "pnm/maxval 255.ppm": lambda: (
        b"P6\n# made by hand\n48 48\n255\n" + bytes(smooth(SIDE, SIDE, 3))
    ),
    "pnm/maxval 100.pgm": lambda: b"P5\n48 48\n100\n" + bytes(smooth(SIDE, SIDE, highest=100)),
    "pnm/maxval 1000.pgm": lambda: (
        b"P5 # levels\n48 48\n1000\n" + smooth(SIDE, SIDE, highest=1000).astype(">u2").tobytes()
    ),
    "pnm/one bit.pbm": lambda: b"P4 48 48\n" + np.packbits(smooth(SIDE, SIDE) > 120, 1).tobytes(),
    "pnm/in words.ppm": lambda: b"P3\n1 1\n9\n1 2 3\n",
    "pnm/two in one.pgm": lambda: 2 * (b"P5\n48 48\n255\n" + bytes(smooth(SIDE, SIDE))),
    "npy/uint8 RGB.npy": lambda: npy(smooth(SIDE, SIDE, 3)),
    "npy/float32.npy": lambda: npy(smooth(SIDE, SIDE).astype(np.float32)),
    "labels.csv": lambda: b"name,label\n" * 30,
    "n" * 247 + ".jpg": jpeg,
}
