"""Images come from arrays, archives and folders; batches depend on seed and index alone."""

import numpy as np
import pytest
import torch
from conftest import SMALL
from PIL import Image
from training_runs import COLOUR, GREY, squares

from bitsback.errors import InputError
from bitsback.models.training import data


def test_the_last_fiftieth_of_every_array_is_held_out():
    random = np.random.default_rng(0)
    arrays = tuple(
        random.integers(0, 256, (n, 9, 9, 1)).astype(np.uint8) for n in (100, 49, 1, 260)
    )
    train, held = data.TrainingImages(arrays, 8).parts()
    assert [len(a) for a in train.arrays] == [98, 49, 1, 255]
    assert [len(a) for a in held.arrays] == [2, 5]
    assert np.array_equal(np.concatenate([train.arrays[0], held.arrays[0]]), arrays[0])
    assert data.TrainingImages(arrays[1:3], 8).parts()[1] is None


def test_arrays_archives_and_folders_give_the_same_images(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 16, 3)).astype(np.uint8)
    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "train.npz", images=images[:1], train=images)
    np.savez(tmp_path / "images.npz", images=images)
    (tmp_path / "folder").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "folder" / f"{i}.png")
    small = data.halved(images)
    for name in ("a.npy", "train.npz", "images.npz", "folder"):
        found = data.load([tmp_path / name], COLOUR)
        full = np.concatenate([a for a in found.arrays if a.shape[1] == 20])
        half = np.concatenate([a for a in found.arrays if a.shape[1] == 10])
        assert np.array_equal(full, images)
        assert np.array_equal(half, small)
        assert (found.crop, found.sample, found.flip) == (8, False, True)
        assert found.dims == 8 * 8 * 3


def test_jpeg_files_are_halved_before_they_are_used(tmp_path):
    wide, tall = (np.full(shape, 77, np.uint8) for shape in ((40, 32, 3), (32, 40, 3)))
    for name, image in {"a.jpg": wide, "b.JPEG": wide, "c.jpg": tall, "d.txt": None}.items():
        if image is None:
            (tmp_path / name).write_text("no image")
        else:
            Image.fromarray(image).save(tmp_path / name, "JPEG")
    found = data.load([tmp_path], COLOUR)
    shapes = sorted(a.shape for a in found.arrays)
    assert shapes == [(1, 8, 10, 3), (1, 16, 20, 3), (2, 10, 8, 3), (2, 20, 16, 3)]
    assert all((a == 77).all() for a in found.arrays)


def test_grey_images_need_no_channel_axis(tmp_path):
    np.save(tmp_path / "a.npy", squares()[..., 0])
    found = data.load([tmp_path / "a.npy"], GREY)
    assert np.array_equal(found.arrays[0], squares())
    assert not found.flip


@pytest.mark.parametrize("ink", [1, 255])
def test_a_bernoulli_model_gets_certain_pixels_as_they_are(tmp_path, ink):
    images = squares(side=8)
    np.save(tmp_path / "a.npy", images // 255 * ink)
    batch = data.load([tmp_path / "a.npy"], SMALL).batch(16, 0, 0).numpy()
    known = {image.tobytes() for image in images // 255}
    assert all(image.transpose(1, 2, 0).tobytes() in known for image in batch)


def test_a_bernoulli_model_gets_grey_levels_as_probabilities_of_ink():
    grey = np.full((1, 8, 8, 1), 51, np.uint8)
    batch = data.TrainingImages((grey,), 8, sample=True).batch(400, 0, 0).numpy()
    assert set(np.unique(batch)) == {0, 1}
    # 25600 draws at 51/255: the standard deviation of the mean is 0.0025.
    assert abs(batch.mean() - 0.2) < 0.0125


def write_pickle(path):
    np.save(path, np.array([{}], object), allow_pickle=True)


def write_cut(path):
    np.save(path, squares())
    path.write_bytes(path.read_bytes()[:-7])


def write_cut_archive(path):
    np.savez_compressed(path, train=squares())
    path.write_bytes(path.read_bytes()[:200])


def write_altered_archive(path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 8, 8)).astype(np.uint8)
    np.savez_compressed(path, train=noise)
    content = bytearray(path.read_bytes())
    content[1000:1100] = bytes(100)
    path.write_bytes(content)


def write_empty_folder(path):
    path.mkdir()


def write_damaged_png(path):
    path.mkdir()
    Image.fromarray(squares()[0, ..., 0]).save(path / "0.png")
    content = (path / "0.png").read_bytes()
    (path / "0.png").write_bytes(content[:40] + content[44:])


@pytest.mark.parametrize(
    ("name", "write", "word"),
    [
        ("missing.npy", lambda path: None, "no such file"),
        ("a.txt", lambda path: path.write_text("x"), "training reads"),
        ("folder", write_empty_folder, "no PNG"),
        ("pngs", write_damaged_png, "not a readable"),
        ("pickled.npy", write_pickle, "not a readable"),
        ("cut.npy", write_cut, "not a readable"),
        ("empty.npy", lambda path: path.write_bytes(b""), "not a readable"),
        ("cut.npz", write_cut_archive, "not a readable"),
        ("altered.npz", write_altered_archive, "not a readable"),
        ("other.npz", lambda path: np.savez(path, labels=np.arange(3)), "no array named train"),
        ("small.npy", lambda path: np.save(path, np.zeros((5, 7, 9), np.uint8)), "at least 8 x 8"),
        ("none.npy", lambda path: np.save(path, np.zeros((0, 8, 8), np.uint8)), "at least 8 x 8"),
        ("flat.npy", lambda path: np.save(path, np.zeros((8, 8), np.uint8)), "1 channels"),
        ("three.npy", lambda path: np.save(path, np.zeros((2, 8, 8, 3), np.uint8)), "1 channels"),
        ("real.npy", lambda path: np.save(path, np.zeros((2, 8, 8))), "float64"),
    ],
)
def test_images_that_cannot_train_are_refused(tmp_path, name, write, word):
    write(tmp_path / name)
    with pytest.raises(InputError, match=word):
        data.load([tmp_path / name], SMALL)


def test_a_batch_depends_on_seed_and_index_alone():
    noise = np.random.default_rng(0).integers(0, 256, (9, 20, 16, 3)).astype(np.uint8)
    images = data.TrainingImages((noise, data.halved(noise)), 8, flip=True)
    first = images.batch(5, 3, 11)
    assert first.shape == (5, 3, 8, 8)
    assert first.dtype == torch.uint8
    images.batch(5, 3, 12)
    torch.manual_seed(0)
    np.random.default_rng(0).random()
    assert torch.equal(images.batch(5, 3, 11), first)
    assert not torch.equal(images.batch(5, 3, 12), first)
    assert not torch.equal(images.batch(5, 4, 11), first)


def test_every_crop_of_a_batch_is_a_window_of_an_image_or_its_mirror():
    noise = np.random.default_rng(0).integers(0, 256, (2, 10, 9, 1)).astype(np.uint8)
    windows, mirrored = set(), set()
    for image in noise[..., 0]:
        for top in range(3):
            for left in range(2):
                window = image[top : top + 8, left : left + 8]
                windows.add(window.tobytes())
                mirrored.add(window[:, ::-1].tobytes())
    crops = {
        c.tobytes() for c in data.TrainingImages((noise,), 8, flip=True).batch(400, 0, 0).numpy()
    }
    assert crops == windows | mirrored
    plain = {c.tobytes() for c in data.TrainingImages((noise,), 8).batch(400, 0, 0).numpy()}
    assert plain == windows


def test_larger_crops_are_fewer_and_of_images_that_hold_them():
    small, large = np.zeros((9, 12, 12, 3), np.uint8), np.full((2, 40, 33, 3), 7, np.uint8)
    images = data.TrainingImages((small, large), 8)
    assert images.batch(16, 0, 0, 2).shape == (4, 3, 16, 16)
    assert images.batch(3, 0, 0, 4).shape == (1, 3, 32, 32)
    assert (images.batch(160, 0, 0, 4) == 7).all()
    with pytest.raises(InputError, match="64 x 64"):
        images.batch(16, 0, 0, 8)


def test_halving_averages_blocks_of_two_by_two_rounded_to_nearest():
    image = np.array([[0, 1, 255, 255, 9], [1, 1, 255, 254, 9], [9, 9, 9, 9, 9]], np.uint8)
    # Sums 3 and 1019: means 0.75 and 254.75; a half goes up.
    assert data.halved(image[None, :, :, None])[0, :, :, 0].tolist() == [[1, 255]]
    ties = np.array([[0, 1, 2, 0], [1, 0, 0, 0]], np.uint8)
    assert data.halved(ties[None, :, :, None])[0, :, :, 0].tolist() == [[1, 1]]
    colours = np.stack([ties, ties * 2, ties * 0], -1)[None]
    assert data.halved(colours).tolist() == [[[[1, 1, 0], [1, 1, 0]]]]
