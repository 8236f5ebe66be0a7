"""Arrays of images in Zarr stores: written and read by Zarr itself, found by the codec's name."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import SMALL, random_model

from bitsback.errors import InputError, ModelError

zarr = pytest.importorskip("zarr")
numcodecs = pytest.importorskip("numcodecs")

from bitsback import zarr as codecs  # noqa: E402


def binary(count=25, side=8) -> np.ndarray:
    return (np.random.default_rng(0).random((count, side, side)) < 0.2).astype(np.uint8)


@pytest.fixture
def codec(build_model, tmp_path):
    build_model()
    return codecs.BitsbackCodec(str(tmp_path / "model"))


def stores(tmp_path):
    """A store of every kind that Zarr has, to write to and to open again."""
    from zarr.storage import FsspecStore, LocalStore, MemoryStore, ZipStore

    yield "memory", MemoryStore()
    yield "directory", LocalStore(tmp_path / "x.zarr")
    yield "zip", ZipStore(tmp_path / "x.zip", mode="w")
    yield "fsspec", FsspecStore.from_url("memory://x.zarr")


def test_every_store_gives_the_images_back(codec, tmp_path):
    images = binary()
    for name, store in stores(tmp_path):
        zarr.create_array(store, data=images, chunks=(10, 8, 8), serializer=codec, compressors=None)
        if name == "zip":
            store.close()
            store = zarr.storage.ZipStore(tmp_path / "x.zip", mode="r")
        opened = zarr.open_array(store, mode="r")
        assert np.array_equal(opened[:], images), name
        assert np.array_equal(opened[7:23, 2:5], images[7:23, 2:5]), name


def test_a_chunk_is_a_bitsback_file_and_no_more_of_them_than_needed_are_decoded(
    codec, tmp_path, monkeypatch
):
    images = binary()
    zarr.create_array(
        str(tmp_path / "x.zarr"), data=images, chunks=(10, 8, 8), serializer=codec, compressors=None
    )
    files = [path for path in (tmp_path / "x.zarr" / "c").rglob("*") if path.is_file()]
    assert len(files) == 3
    assert all(path.read_bytes().startswith(b"\x89BBK") for path in files)
    decoded = []
    real = codecs.decompress
    monkeypatch.setattr(codecs, "decompress", lambda *given: decoded.append(1) or real(*given))
    opened = zarr.open_array(str(tmp_path / "x.zarr"), mode="r")
    assert np.array_equal(opened[12:15], images[12:15])
    assert len(decoded) == 1


def test_shards_hold_several_chunks(codec, tmp_path):
    images = binary(40)
    path = str(tmp_path / "x.zarr")
    zarr.create_array(
        path, data=images, chunks=(5, 8, 8), shards=(20, 8, 8), serializer=codec, compressors=None
    )
    assert np.array_equal(zarr.open_array(path, mode="r")[11:29], images[11:29])
    files = [each for each in (tmp_path / "x.zarr" / "c").rglob("*") if each.is_file()]
    assert len(files) == 2


def test_format_2_takes_it_as_a_compressor(codec, tmp_path):
    images, path = binary(), str(tmp_path / "x.zarr")
    old = codecs.BitsbackNumcodec(codec.model)
    zarr.create_array(path, data=images, chunks=(10, 8, 8), compressors=old, zarr_format=2)
    opened = zarr.open_array(path, mode="r")
    assert opened.metadata.zarr_format == 2
    assert np.array_equal(opened[:], images)
    again = numcodecs.get_codec(old.get_config())
    assert again == old
    out = np.zeros_like(images)
    again.decode(old.encode(images), out)
    assert np.array_equal(out, images)


def test_bool_colour_and_part_of_a_chunk_are_kept(tmp_path):
    import dataclasses

    from bitsback.models import store

    config = dataclasses.replace(SMALL, channels=3, likelihood="logistic", mixtures=2)
    store.save(tmp_path / "colour", config, *random_model(config))
    store.save(tmp_path / "binary", SMALL, *random_model(SMALL))
    colour = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
    path = str(tmp_path / "c.zarr")
    zarr.create_array(
        path,
        data=colour,
        chunks=(4, 8, 8, 3),
        serializer=codecs.BitsbackCodec(str(tmp_path / "colour")),
        compressors=None,
    )
    opened = zarr.open_array(path)
    assert np.array_equal(opened[:], colour)
    opened[5] = colour[0]
    assert np.array_equal(zarr.open_array(path)[4:], colour[[4, 0]])
    path = str(tmp_path / "b.zarr")
    flags = binary().astype(bool)
    zarr.create_array(
        path,
        data=flags,
        chunks=(25, 8, 8),
        serializer=codecs.BitsbackCodec(str(tmp_path / "binary")),
        compressors=None,
    )
    found = zarr.open_array(path)[:]
    assert found.dtype == np.bool_
    assert np.array_equal(found, flags)


def test_the_metadata_name_the_model_and_its_weights(codec, tmp_path):
    path = tmp_path / "x.zarr"
    zarr.create_array(
        str(path), data=binary(), chunks=(25, 8, 8), serializer=codec, compressors=None
    )
    (stored,) = json.loads((path / "zarr.json").read_text())["codecs"]
    assert stored == codec.to_dict()
    assert stored["configuration"] == {"model": codec.model, "sha256": codec.sha256}
    assert codecs.BitsbackCodec.from_dict(stored) == codec
    assert eval(repr(codec), {"BitsbackCodec": codecs.BitsbackCodec}) == codec
    with pytest.raises(ModelError, match="needs model"):
        codecs.model_of(codec.model, "00" * 8)
    with pytest.raises(InputError, match="not the metadata"):
        codecs.BitsbackCodec.from_dict({"name": "gzip"})


@pytest.mark.parametrize(
    ("array", "chunks"),
    [
        (np.zeros((4, 8, 8), np.float32), (4, 8, 8)),
        (np.zeros((4, 8, 8), np.int32), (4, 8, 8)),
        (np.zeros(8, np.uint8), (8,)),
    ],
)
def test_arrays_of_other_things_are_refused(codec, tmp_path, array, chunks):
    with pytest.raises(InputError, match=r"a\.view\(np\.uint8\)"):
        zarr.create_array(
            str(tmp_path / "x.zarr"),
            data=array,
            chunks=chunks,
            serializer=codec,
            compressors=None,
        )


@pytest.mark.parametrize("dtype", ["|i1", "<u2", ">i2", "|b1"])
@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 2, 8, 8, 1), (3, 8, 9)])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_arrays_of_more_axes_and_dtypes_come_back(build_model, tmp_path, dtype, shape, zarr_format):
    build_model(channels=3, likelihood="logistic", mixtures=2)
    array = np.random.default_rng(0).integers(-300, 300, shape).astype(dtype)
    model = str(tmp_path / "model")
    how = (
        {"serializer": codecs.BitsbackCodec(model), "compressors": None}
        if zarr_format == 3
        else {"compressors": codecs.BitsbackNumcodec(model), "order": "C"}
    )
    path = str(tmp_path / "x.zarr")
    zarr.create_array(path, data=array, chunks=(1, *shape[1:]), zarr_format=zarr_format, **how)
    found = zarr.open_array(path, mode="r")[...]
    np.testing.assert_array_equal(found, array)


def test_fortran_order_is_refused(codec):
    with pytest.raises(InputError, match="order 'C'"):
        codecs.BitsbackNumcodec(codec.model).encode(np.asfortranarray(binary()))


def test_without_zarr_a_sentence_says_what_to_install(tmp_path):
    (tmp_path / "zarr.py").write_text("raise ImportError('hidden')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import bitsback.zarr"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "pip install 'bitsback[zarr]'" in done.stderr


def test_an_object_store_over_the_network_serves_it(codec):
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server")
    import boto3

    running = server.ThreadedMotoServer(port=0)
    running.start()
    try:
        host, port = running.get_host_and_port()
        options = {
            "key": "k",
            "secret": "s",
            "client_kwargs": {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"},
        }
        client = boto3.client(
            "s3",
            aws_access_key_id="k",
            aws_secret_access_key="s",
            **options["client_kwargs"],
        )
        client.create_bucket(Bucket="images")
        images = binary()
        url = "s3://images/x.zarr"
        zarr.create_array(
            url,
            data=images,
            chunks=(10, 8, 8),
            serializer=codec,
            compressors=None,
            storage_options=options,
        )
        opened = zarr.open_array(url, mode="r", storage_options=options)
        assert np.array_equal(opened[3:19], images[3:19])
        listed = client.list_objects_v2(Bucket="images")["Contents"]
        assert len([entry for entry in listed if "/c/" in entry["Key"]]) == 3
    finally:
        running.stop()


def test_dask_writes_and_reads_chunks_side_by_side(codec, tmp_path):
    dask_array = pytest.importorskip("dask.array")
    images, path = binary(40), str(tmp_path / "x.zarr")
    target = zarr.create_array(
        path, shape=images.shape, dtype="uint8", chunks=(10, 8, 8), serializer=codec,
        compressors=None,
    )  # fmt: skip
    dask_array.from_array(images, chunks=(10, 8, 8)).store(target, lock=False)
    found = dask_array.from_zarr(path)
    assert found.numblocks == (4, 1, 1)
    assert int(found.sum().compute()) == images.sum()
    assert np.array_equal(found.compute(), images)


def test_metadata_are_not_trusted_with_a_path(build_model, tmp_path, monkeypatch):
    import bitsback.zarr as codecs
    from bitsback.errors import ModelError

    build_model()
    folder = str(tmp_path / "model")
    fields = codecs.BitsbackCodec(folder).to_dict()
    assert codecs.BitsbackCodec.from_dict(fields).model == folder  # the caller has named it
    monkeypatch.setattr(codecs, "_given", set())
    with pytest.raises(ModelError, match="no model ships under the name"):
        codecs.BitsbackCodec.from_dict(fields)
    with pytest.raises(ModelError, match="no model ships under the name"):
        codecs.BitsbackNumcodec.from_config(fields["configuration"])
