"""A PyTorch DataLoader over a file: random access, workers, and each chunk decoded once."""

import collections
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import bitsback
from bitsback.archive import reader
from bitsback.errors import InputError
from bitsback.torch import ChunkBatchSampler, ImageDataset


@pytest.fixture
def images() -> np.ndarray:
    """Images that differ: each has its number in its first pixels."""
    found = (np.random.default_rng(0).random((47, 8, 8)) < 0.2).astype(np.uint8)
    found[:, 0, :6] = (np.arange(47)[:, None] >> np.arange(6)) & 1
    return found


@pytest.fixture
def path(build_model, tmp_path, images):
    model = build_model()
    (tmp_path / "x.bb").write_bytes(bitsback.compress(images, model, chunk=5))
    return tmp_path / "x.bb"


def dataset(path, **words) -> ImageDataset:
    return ImageDataset(path, path.parent / "model", **words)


def numbers_of(batch: torch.Tensor) -> list[int]:
    return (batch[:, 0, 0, :6].long() << torch.arange(6)).sum(1).tolist()


def test_every_image_is_had_by_its_number(path, images):
    found = dataset(path)
    assert len(found) == 47
    for number in (0, 46, 13, -1, 4, 5):
        image = found[number]
        assert image.dtype == torch.uint8
        assert torch.equal(image, torch.from_numpy(images[number][None]))
    with pytest.raises(IndexError):
        found[47]
    shown = dataset(path, transform=lambda image: image.float().sum())
    assert float(shown[3]) == images[3].sum()


def test_images_of_16_bits_and_alpha_are_tensors(build_model, tmp_path):
    model = build_model(channels=3, likelihood="logistic", mixtures=2)
    levels = np.random.default_rng(0).integers(0, 1 << 16, (6, 7)).astype(np.uint16)
    clear = np.random.default_rng(1).integers(0, 256, (5, 5, 4)).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    Image.fromarray(clear).save(tmp_path / "b.png")
    names = [tmp_path / "a.png", tmp_path / "b.png"]
    (tmp_path / "x.bb").write_bytes(bitsback.compress(names, model, keep="samples"))
    deep, rgba = (dataset(tmp_path / "x.bb")[number] for number in range(2))
    assert deep.dtype == torch.int32
    assert np.array_equal(deep[0].numpy(), levels)
    assert rgba.dtype == torch.uint8
    assert np.array_equal(rgba.numpy(), clear.transpose(2, 0, 1))


def test_a_set_without_images_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"name,label")
    (tmp_path / "x.bb").write_bytes(bitsback.compress(tmp_path / "a.csv"))
    with pytest.raises(InputError, match="no image is coded"):
        ImageDataset(tmp_path / "x.bb")


def test_files_of_version_5_tell_of_images_that_they_do_not_count():
    golden = Path(__file__).parents[1] / "data" / "folder-v5.bb"
    found = ImageDataset(golden)
    assert len(found) == 3
    with pytest.warns(UserWarning, match=r"such as c\.jpg"):
        assert found[0].shape == (1, 28, 28)


@pytest.mark.parametrize("dtype", ["|i1", ">i2", "<u4"])
def test_integers_with_channels_first_are_tensors(build_model, tmp_path, dtype):
    model = build_model(channels=3, likelihood="logistic", mixtures=2)
    array = np.random.default_rng(0).integers(0, 100, (4, 3, 6, 7)).astype(dtype)
    (tmp_path / "x.bb").write_bytes(bitsback.compress(array, model))
    image = dataset(tmp_path / "x.bb")[2]
    assert image.shape == (3, 6, 7)
    assert np.array_equal(image.numpy(), array[2])
    assert image.dtype == {"|i1": torch.int8, ">i2": torch.int16, "<u4": torch.int64}[dtype]


def test_the_last_chunks_are_kept(path, monkeypatch):
    decoded = collections.Counter()
    real = reader.DecodeTask.run

    def counting(task, *rest):
        decoded[task.number] += 1
        return real(task, *rest)

    monkeypatch.setattr(reader.DecodeTask, "run", counting)
    found = dataset(path, chunks=2)
    for number in (0, 7, 1, 8, 2, 9):
        found[number]
    assert decoded == {0: 1, 1: 1}
    found[45]
    found[0]
    assert decoded == {0: 2, 1: 1, 9: 1}
    decoded.clear()
    loader = DataLoader(found, batch_sampler=ChunkBatchSampler(found, 4))
    assert sum(len(batch) for batch in loader) == 47
    assert set(decoded.values()) == {1}


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [1, 4, 50])
def test_an_epoch_has_every_image_once_in_another_order(path, workers, size):
    found = dataset(path)
    sampler = ChunkBatchSampler(found, size, workers, seed=3)
    epochs = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        assert all(1 <= len(batch) <= size for batch in batches)
        epochs.append([number for batch in batches for number in batch])
        assert sorted(epochs[-1]) == list(range(47))
    assert epochs[0] != epochs[1] != list(range(47))
    assert list(ChunkBatchSampler(found, size, workers, seed=3)) == list(
        ChunkBatchSampler(found, size, workers, seed=3)
    )


def test_workers_have_chunks_of_their_own(path):
    found = dataset(path, chunks=1)
    batches = list(ChunkBatchSampler(found, 5, workers=2))
    chunks = [{number // 5 for number in batch} for batch in batches]
    assert all(len(each) == 1 for each in chunks)
    first, second = set().union(*chunks[::2]), set().union(*chunks[1::2])
    assert not first & second


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one core
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_read_the_same_images(path, images, method):
    found = dataset(path)
    found[0]  # opens the file before the workers begin
    sampler = ChunkBatchSampler(found, 4, workers=2)
    loader = DataLoader(found, batch_sampler=sampler, num_workers=2, multiprocessing_context=method)
    seen = []
    for batch in loader:
        numbers = numbers_of(batch)
        assert torch.equal(batch[:, 0], torch.from_numpy(images[numbers]))
        seen += numbers
    assert sorted(seen) == list(range(47))


def test_a_data_set_can_be_sent_to_a_process(path, images):
    found = dataset(path)
    found[3]
    again = pickle.loads(pickle.dumps(found))
    assert torch.equal(again[30], torch.from_numpy(images[30][None]))


def test_impossible_numbers_are_refused(path):
    with pytest.raises(InputError, match="at least one chunk"):
        dataset(path, chunks=0)
    for words in ((0,), (4, -1)):
        with pytest.raises(InputError, match="batches"):
            ChunkBatchSampler(dataset(path), *words)
    with pytest.raises(InputError, match="read"):
        dataset(path.parent / "nothing.bb")
