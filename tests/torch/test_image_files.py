"""Image files that travel as they are belong to the data set, and look as if they were coded."""

import io

import numpy as np
import odd_kinds
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import bitsback
from bitsback.errors import FormatError, InputError
from bitsback.images import parts
from bitsback.keeping import cost
from bitsback.torch import ChunkBatchSampler, ImageDataset


@pytest.fixture
def model(build_model):
    return build_model(channels=3, likelihood="logistic", mixtures=2)


def dataset(folder, model, **words):
    (folder.parent / "x.bb").write_bytes(bitsback.compress(folder, model, **words))
    return ImageDataset(folder.parent / "x.bb", folder.parent / "model")


def write(folder, files):
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def jpeg(number):
    return odd_kinds.saved("JPEG", np.roll(odd_kinds.smooth(20, 24, 3), number, 0), quality=90)


def shown(found):
    """The data set's first image, or why it has none."""
    try:
        return found[0]
    except InputError as error:
        return str(error)


def as_pillow_shows(data):
    with Image.open(io.BytesIO(data)) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def test_a_folder_of_jpegs_is_a_data_set(tmp_path, model):
    files = {f"{number:02}{'.jpg' * (number % 2)}": jpeg(number) for number in range(9)}
    write(tmp_path / "in", files | {"labels.csv": b"name,label\n"})
    found = dataset(tmp_path / "in", model)
    assert len(found) == 9
    for image, data in zip((found[i] for i in range(9)), files.values(), strict=True):
        assert image.dtype == torch.uint8
        assert torch.equal(image, as_pillow_shows(data))
    batches = ChunkBatchSampler(found, 4)
    assert sum(len(batch) for batch in DataLoader(found, batch_sampler=batches)) == 9
    shown = ImageDataset(found.path, found.model, transform=lambda image: image.float().mean())
    assert float(shown[3]) == float(found[3].float().mean())


@pytest.mark.parametrize("chunk", [None, 1, 2])
def test_coded_and_carried_images_keep_the_order_of_the_set(tmp_path, model, chunk):
    files = {}
    for number, kind in enumerate("jpjjpppjpj"):
        pixels = np.full((6, 7, 3), number, np.uint8)
        files[f"{number}.{kind}"] = (pixels, kind)
    (tmp_path / "in").mkdir()
    for name, (pixels, kind) in files.items():
        stem = tmp_path / "in" / name[:-2]
        if kind == "j":
            Image.fromarray(pixels).save(stem.with_suffix(".jpg"))
        else:
            stem.with_suffix(".ppm").write_bytes(b"P6 7 6 255\n" + pixels.tobytes())
    found = dataset(tmp_path / "in", model, keep="samples", chunk=chunk)
    assert [int(found[number][0, 0, 0]) for number in range(len(found))] == list(range(10))
    assert found[-1].shape == (3, 6, 7)
    with pytest.raises(IndexError):
        found[10]


CODED = [name for name in odd_kinds.KINDS if name.startswith(("png", "tiff", "bmp", "pnm", "webp"))]


@pytest.mark.parametrize("name", CODED)
def test_an_image_is_the_same_coded_or_carried(tmp_path, model, monkeypatch, name):
    write(tmp_path / "in", {name.split("/")[1]: odd_kinds.KINDS[name]()})
    coded = dataset(tmp_path / "in", model, keep="samples", always_chain=True)
    monkeypatch.setattr(cost, "is_larger", lambda *_: True)
    carried = dataset(tmp_path / "in", model)
    with bitsback.open(carried.path, carried.model) as reader:
        assert len(reader) == 0
    assert len(carried) == 1
    one, two = shown(coded), shown(carried)
    assert type(one) is type(two)
    if isinstance(one, str):
        assert one == two
        assert one.startswith(name.split("/")[1])
    else:
        assert torch.equal(one, two)
        assert one.dtype == two.dtype


def test_of_several_images_the_first_is_shown(tmp_path, model):
    kinds = ("jpeg/two images (MPO).jpg", "gif/animated.gif")
    write(tmp_path / "in", {name.split("/")[1]: odd_kinds.KINDS[name]() for name in kinds})
    found = dataset(tmp_path / "in", model)
    assert torch.equal(found[1], as_pillow_shows(odd_kinds.KINDS[kinds[0]]()))
    with Image.open(io.BytesIO(odd_kinds.KINDS[kinds[1]]())) as image:
        assert np.array_equal(found[0][:3].permute(1, 2, 0), np.array(image.convert("RGB")))


@pytest.mark.parametrize(
    "name", ["jpeg/CMYK.jpg", "png/empty.png", "png/half.png", "tiff/int8.tif"]
)
def test_a_file_that_is_no_image_of_levels_is_named(tmp_path, model, name):
    write(tmp_path / "in", {name.split("/")[1]: odd_kinds.KINDS[name]()})
    found = dataset(tmp_path / "in", model)
    with pytest.raises(InputError, match=f"^{name.split('/')[1]} is no image of levels"):
        found[0]


def test_an_index_that_counts_others_is_damaged(tmp_path, model, monkeypatch):
    write(tmp_path / "in", {"a.jpg": jpeg(0), "b.jpg": jpeg(1)})
    found = dataset(tmp_path / "in", model)
    real = parts.in_order
    monkeypatch.setattr("bitsback.torch.datasets.in_order", lambda images: list(real(images))[:1])
    with pytest.raises(FormatError, match="chunk 0 has other images than its index counts"):
        found[0]
