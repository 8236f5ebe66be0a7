"""Manifests: what is written is read, byte for byte as ever, and what does not fit is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsback.errors import FormatError
from bitsback.format.payload import pack_payload, unpack_payload
from bitsback.images.image_file import CHANNELS
from bitsback.images.manifest import ArrayManifest, FilesManifest, NpzManifest, from_json

sides = st.integers(1, 2**40)
dtypes = st.sampled_from(["uint8", "bool"])
array_shapes = st.one_of(
    st.tuples(sides, sides),
    st.tuples(sides, sides, sides),
    st.tuples(sides, sides, sides, st.integers(1, 4)),
)
names = st.text(st.characters(), max_size=9)  # lone surrogates, too
image_shapes = st.tuples(sides, sides, st.integers(1, 4))


@st.composite
def files(draw):
    """A manifest of image files."""
    kind = draw(st.sampled_from(["file", "folder", "tar"]))
    count = 1 if kind == "file" else draw(st.integers(1, 4))
    columns = (names, st.sampled_from(sorted(CHANNELS)), image_shapes)
    drawn = [tuple(draw(st.lists(c, min_size=count, max_size=count))) for c in columns]
    return FilesManifest(kind, *drawn)


manifests = st.one_of(
    st.builds(ArrayManifest, dtypes, array_shapes),
    st.builds(NpzManifest, dtypes, array_shapes, names, st.lists(names).map(tuple), st.booleans()),
    files(),
)


@given(manifests)
def test_what_is_written_is_read(manifest):
    fields, _, _ = unpack_payload(pack_payload(manifest.to_json(), b"", b""))
    assert from_json(fields) == manifest


@pytest.mark.parametrize(
    ("manifest", "fields"),
    [
        (
            ArrayManifest("uint8", (30, 8, 8)),
            {"kind": "array", "dtype": "uint8", "shape": [30, 8, 8]},
        ),
        (
            NpzManifest("bool", (8, 8), "x", ("labels", "x"), True),
            {
                "kind": "npz",
                "dtype": "bool",
                "shape": [8, 8],
                "name": "x",
                "names": ["labels", "x"],
                "packed": True,
            },
        ),
        (
            FilesManifest("tar", ("a/b.png",), ("RGB",), ((4, 5, 3),)),
            {"kind": "tar", "names": ["a/b.png"], "modes": ["RGB"], "shapes": [[4, 5, 3]]},
        ),
    ],
)
def test_the_json_of_a_manifest_is_what_files_hold(manifest, fields):
    assert manifest.to_json() == fields


GOOD = {
    "array": {"kind": "array", "dtype": "uint8", "shape": [2, 8, 8]},
    "npz": {
        "kind": "npz",
        "dtype": "uint8",
        "shape": [2, 8, 8],
        "name": "x",
        "names": ["x"],
        "packed": False,
    },
    "file": {"kind": "file", "names": ["a.png"], "modes": ["L"], "shapes": [[8, 8, 1]]},
    "folder": {
        "kind": "folder",
        "names": ["a.png", "b.png"],
        "modes": ["L", "L"],
        "shapes": [[8, 8, 1], [8, 8, 1]],
    },
}


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        *((kind, "kind", value) for kind in GOOD for value in (None, "heap", [], {})),
        ("array", "kind", "npz"),
        ("npz", "kind", "array"),
        *((kind, "dtype", value) for kind in ("array", "npz") for value in (None, "float64", 1)),
        *(
            (kind, "shape", value)
            for kind in ("array", "npz")
            for value in (
                *(None, 5, "288", {}, [], [8], [2, 8, 8, 5], [1, 1, 1, 1, 1], [2, 8, -8]),
                *([0, 8, 8], [2.0, 8, 8], ["2", 8, 8], [True, 8, 8], [2, [8], 8]),
            )
        ),
        *(("npz", "name", value) for value in (None, 5, ["x"])),
        *((kind, "names", value) for kind in ("npz", "file") for value in (None, "x", [5], [[]])),
        *(("npz", "packed", value) for value in (None, 0, "no")),
        *(("folder", "names", value) for value in ([], ["a.png"], ["a.png", "b.png", "c.png"])),
        *(("folder", "modes", value) for value in (None, "LL", ["L"], ["L", "CMYK"], ["L", 1])),
        *(
            ("file", "shapes", value)
            for value in (
                *(None, 5, "x", [], [8, 8, 1], [[8, 8]], [[8, 8, 1, 1]], [[8, 8, 5]]),
                *([[8, 8, 0]], [[8, 8.0, 1]], [[8, True, 1]], [[8, 8, 1], [8, 8, 1]]),
            )
        ),
        ("folder", "kind", "file"),
        ("array", "modes", ["L"]),
    ],
)
def test_fields_of_no_manifest_are_a_format_error(kind, key, value):
    from_json(GOOD[kind])
    with pytest.raises(FormatError, match="manifest"):
        from_json(GOOD[kind] | {key: value})
    with pytest.raises(FormatError, match="manifest"):
        from_json({name: field for name, field in GOOD[kind].items() if name != key} | {"": 1})


@given(manifests, st.data())
def test_a_part_has_the_shapes_of_its_images(manifest, data):
    if isinstance(manifest, ArrayManifest):
        count = manifest.stack_shape[0]
        with pytest.raises(FormatError, match="describe"):
            manifest.image_shapes(count + 1)
        return
    count = len(manifest.names)
    begin = data.draw(st.integers(0, count - 1))
    end = data.draw(st.integers(begin + 1, count))
    shapes = manifest.image_shapes(count)
    part = manifest.part(begin, end)
    assert part.image_shapes(end - begin) == shapes[begin:end]
    assert part == manifest.picked(range(begin, end))


def test_sizes_are_values_of_every_image():
    array = NpzManifest("uint8", (5, 4, 3, 2), "x", ("x",), False)
    np.testing.assert_array_equal(array.sizes(), [24] * 5)
    assert array.part(1, 3) == NpzManifest("uint8", (2, 4, 3, 2), "x", ("x",), False)
    assert array.picked([0, 4, 2]) == ArrayManifest("uint8", (3, 4, 3, 2))
    some = FilesManifest("folder", ("a", "b"), ("L", "RGB"), ((2, 3, 1), (4, 5, 3)))
    np.testing.assert_array_equal(some.sizes(), [6, 60])
