"""No image that a rate is reported on was among those that a shipped model was trained on.

Pixels are compared exactly; photographs also by thumbnails, plain and mirrored, since another
size or another codec would make new pixels of the same image.
"""

import hashlib

import numpy as np
import pytest
from conftest import DATA, real_data
from PIL import Image

PHOTOS = ("imagenet176_a.npz", "imagenet176_b.npz", "bsd200_half.npz")
TESTS = ("kodak", "mcmaster", "set14")
# Mean difference of 8 x 8 thumbnails, in levels: one image at half the size and coded as JPEG
# is below 1 from itself, the nearest two different photographs of these sets are 14 apart.
NEAR = 5.0


def hashes(images):
    return [hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest() for image in images]


def folder(name):
    paths = sorted((DATA / name).glob("*.png"))
    if not paths:
        pytest.skip(f"{name} is not in {DATA}: set BITSBACK_DATA to the folder that holds it")
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def thumbnails(images):
    small = [Image.fromarray(image).resize((8, 8), Image.Resampling.BOX) for image in images]
    return np.array([np.asarray(image, float).ravel() for image in small])


def nearest(seen, kept):
    """Distance of the two nearest thumbnails, kept ones also mirrored, of images (H, W, 3)."""
    known, found = thumbnails(seen), np.inf
    for images in (kept, [image[:, ::-1] for image in kept]):
        for thumbnail in thumbnails(images):
            found = min(found, np.abs(known - thumbnail).mean(1).min())
    return found


@pytest.mark.parametrize(
    ("name", "kept"), [("mnist", "test"), ("omniglot", "test"), ("cifar10", "heldout")]
)
def test_no_image_is_in_both_parts_of_a_set(name, kept):
    seen = set(hashes(real_data(f"{name}.npz", "train")))
    assert len(seen) > 2000
    assert seen.isdisjoint(hashes(real_data(f"{name}.npz", kept)))


def test_no_held_out_cifar_image_is_like_a_trained_one():
    train, kept = (real_data("cifar10.npz", part) for part in ("train", "heldout"))
    assert nearest(list(train), list(kept)) > NEAR


@pytest.fixture(scope="module")
def photos():
    found = [image for name in PHOTOS for image in real_data(name, "images")]
    return found + folder("yang91")


@pytest.mark.parametrize("name", TESTS)
def test_no_test_photograph_is_among_the_trained_ones(photos, name):
    assert len(photos) > 1000
    kept = folder(name)
    assert set(hashes(photos)).isdisjoint(hashes(kept))
    assert nearest(photos, kept) > NEAR


def test_an_image_at_half_the_size_would_be_found(photos):
    kept = folder("kodak")[:3]
    height, width = (side // 2 for side in kept[1].shape[:2])
    half = np.asarray(Image.fromarray(kept[1]).resize((width, height), Image.Resampling.BICUBIC))
    assert nearest([*photos[:50], half[:, ::-1]], kept) < NEAR
