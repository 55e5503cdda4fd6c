import errno
import hashlib
import mmap
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from tensorflow_datasets.core import dataset_info

from mnist_jax import data
from mnist_jax.data import builder, cache, catalog, records, seal
from mnist_jax.data.lock import exclusive
from mnist_jax.errors import UserError

DIGESTS = r"expected sha256 (\w+), found (\w+)"


def assert_tiny(tiny):
    for split in ("train", "test"):
        loaded = data.load(tiny.name, split)
        np.testing.assert_array_equal(loaded.images, tiny.canonical(split)[0])
        np.testing.assert_array_equal(loaded.labels, tiny.canonical(split)[1])


def test_is_read_instead_of_the_prepared_data(tiny, capfd):
    data.load(tiny.name, "train")
    tiny.prepared.rename(tiny.prepared.with_name("elsewhere"))
    capfd.readouterr()
    assert_tiny(tiny)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("position", [0.0, 0.001, 0.003, 0.5, 0.9999])
def test_flipped_bit_is_met_and_mended(tiny, flip, capfd, position):
    data.load(tiny.name, "train")
    whole = tiny.cache.read_bytes()
    flip(tiny.cache, position)
    capfd.readouterr()
    assert_tiny(tiny)
    (line,) = capfd.readouterr().err.splitlines()
    assert str(tiny.cache) in line
    expected, found = re.search(DIGESTS, line).groups()
    assert expected != found
    assert tiny.cache.read_bytes() == whole


@pytest.mark.parametrize(
    ("size", "why"), [(0, "header is incomplete"), (10, "header is incomplete"), (20000, DIGESTS)]
)
def test_half_written_is_met_and_mended(tiny, capfd, size, why):
    data.load(tiny.name, "train")
    os.truncate(tiny.cache, size)
    capfd.readouterr()
    assert_tiny(tiny)
    (line,) = capfd.readouterr().err.splitlines()
    assert str(tiny.cache) in line
    assert re.search(why, line)


def test_left_over_of_a_killed_process_is_harmless(tiny):
    tiny.cache.parent.mkdir()
    partial = tiny.cache.with_name(tiny.cache.name + ".partial")
    partial.write_bytes(b"half")
    assert_tiny(tiny)
    assert not partial.exists()


def test_is_written_a_few_images_at_a_time(tiny, monkeypatch):
    data.load(tiny.name, "train")
    whole, fetch, counts = tiny.cache.read_bytes(), records.Records.fetch, []
    tiny.cache.unlink()
    monkeypatch.setattr(cache, "BLOCK_BYTES", 8 * 784 - 1)
    monkeypatch.setattr(
        records.Records, "fetch", lambda self, rows: counts.append(len(rows)) or fetch(self, rows)
    )
    assert_tiny(tiny)
    assert tiny.cache.read_bytes() == whole
    assert sorted(counts) == [1, 6, *[7] * 9]


def test_failed_write_leaves_nothing(tiny, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    data.load(tiny.name, "train")  # prepares the data, which are written durably as well
    tiny.cache.unlink()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=f"cannot write {tiny.cache}: .*No space.*Free space"):
        data.load(tiny.name, "train")
    assert [path.suffix for path in tiny.cache.parent.iterdir()] == [".lock"]


def test_cache_of_another_data_set_is_not_used(tiny, capfd):
    data.load(tiny.name, "train")
    tiny.serve("http://127.0.0.1:9/other/", name="other")
    tiny.manual.rename(tiny.manual.with_name("other"))
    tiny.cache.rename(tiny.cache.with_name("other-3.0.1.cache"))
    assert data.load(tiny.name, "train").name == "other"
    assert "it holds tiny 3.0.1" in capfd.readouterr().err


def test_digest_is_that_of_the_arrays(mnist):
    sha256 = hashlib.sha256()
    for name in ("train", "test"):
        split = data.load(mnist, name)
        sha256.update(split.images.tobytes() + split.labels.astype("<i4").tobytes())
    assert sha256.hexdigest() == catalog.find(mnist).sha256


def test_read_only_folder_is_enough_for_a_whole_cache(tiny):
    data.load(tiny.name, "train")
    for path in tiny.cache.parent.iterdir():
        if path != tiny.cache:
            path.unlink()
    tiny.cache.chmod(0o444)
    tiny.cache.parent.chmod(0o555)
    try:
        assert_tiny(tiny)
        assert list(tiny.cache.parent.iterdir()) == [tiny.cache]
    finally:
        tiny.cache.parent.chmod(0o755)


def test_unwritable_data_dir(tiny, monkeypatch):
    (tiny.folder / "file").touch()
    for place in ("file", "file/below"):
        monkeypatch.setenv("TFDS_DATA_DIR", str(tiny.folder / place))
        for read in (data.load, data.source):
            with pytest.raises(UserError, match=r"(?s)file.*Set TFDS_DATA_DIR"):
                read(tiny.name, "train")


@pytest.mark.parametrize("name", ["tiny-train.array_record-00000-of-00001", "dataset_info.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_prepared_data_is_prepared_again(tiny, flip, capfd, name, damage):
    data.source(tiny.name, "train")
    path = tiny.prepared / name
    if damage == "flip":
        flip(path, 0.0 if name.endswith("json") else 0.5)
    elif damage == "truncate":
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.unlink()
    capfd.readouterr()
    assert_tiny(tiny)
    aside = tiny.prepared.with_name("3.0.1.damaged-1")
    assert aside.is_dir()
    err = capfd.readouterr().err
    assert f"set aside as {aside}" in err
    assert err.splitlines()[-1].startswith("preparing tiny")


def refuse_to_open(tiny, monkeypatch):
    """As a disk does that fails."""
    monkeypatch.setattr(seal, "_facts", failing(OSError(errno.EIO, os.strerror(errno.EIO))))


def refuse_to_describe(tiny, monkeypatch):
    """The same, where tfds reads its description of the data."""
    error = dataset_info.DatasetInfoFileError("Could not read dataset info")
    error.__cause__ = OSError(errno.EIO, os.strerror(errno.EIO))
    monkeypatch.setattr(records.builder, "builder_class", failing(error))


def refuse_to_read(tiny, monkeypatch):
    """The same, in the C++ of array_record."""
    monkeypatch.setattr(records.png, "decode", failing(RuntimeError("read: Input/output error")))


def failing(error):
    def fail(*arguments, **keywords):
        raise error

    return fail


@pytest.mark.parametrize("refuse", [refuse_to_open, refuse_to_describe, refuse_to_read])
def test_data_that_the_system_refuses_to_read_are_not_set_aside(tiny, monkeypatch, refuse):
    data.source(tiny.name, "train")
    refused = f"{tiny.prepared}: (read: )?"
    with monkeypatch.context() as patch:
        refuse(tiny, patch)
        with pytest.raises(UserError, match=f"refuses to read {refused}Input/output") as found:
            data.load(tiny.name, "train")
    assert not isinstance(found.value, records.DamagedRecords)
    assert [path.name for path in tiny.prepared.parent.iterdir()] == ["3.0.1"]
    assert_tiny(tiny)


def test_data_for_which_there_are_no_threads_are_not_set_aside(tiny, monkeypatch):
    data.source(tiny.name, "train")
    with monkeypatch.context() as patch:
        patch.setattr(records.png, "decode", failing(RuntimeError("can't start new thread")))
        with pytest.raises(UserError, match="cannot be read: the system starts no more threads"):
            data.load(tiny.name, "train")
    assert [path.name for path in tiny.prepared.parent.iterdir()] == ["3.0.1"]
    assert_tiny(tiny)


def test_data_that_cannot_be_read_once_are_not_set_aside(tiny, monkeypatch, capfd):
    """Tfds takes a file that the system does not tell of for a missing one."""
    data.source(tiny.name, "train")
    errors = [LookupError("no such split")]
    decode = records.png.decode

    def fail_once(*arguments):
        if errors:
            raise errors.pop()
        return decode(*arguments)

    monkeypatch.setattr(records.png, "decode", fail_once)
    capfd.readouterr()
    assert_tiny(tiny)
    assert not errors
    assert capfd.readouterr().err == ""


def shorten(folder):
    path = folder / "dataset_info.json"
    path.write_text(path.read_text().replace('"50"', '"30"'))


def add_a_class(folder):
    path = folder / "features.json"
    path.write_text(path.read_text().replace('"10"', '"11"'))


def swap(folder):
    one, other = sorted(folder.glob("*.array_record-*"))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def lose_the_digests(folder):
    (folder / seal.FILE).write_text("{")


@pytest.mark.parametrize("damage", [shorten, add_a_class, swap, lose_the_digests])
def test_damage_that_tfds_does_not_notice_is_noticed(tiny, capfd, damage):
    data.source(tiny.name, "train")
    damage(tiny.prepared)
    capfd.readouterr()
    with pytest.raises(UserError, match=r"damaged: .*(expected|cannot be read)"):
        data.source(tiny.name, "train")
    assert_tiny(tiny)
    assert data.load(tiny.name, "train").class_names == tuple("0123456789")
    assert "set aside as" in capfd.readouterr().err


def test_what_a_killed_process_has_prepared_in_part_is_removed(tiny):
    unfinished = tiny.prepared.with_name("3.0.1.preparing")
    (unfinished / "tiny" / "incomplete.ABCDEF_3.0.1").mkdir(parents=True)
    assert_tiny(tiny)
    assert list(tiny.prepared.parent.iterdir()) == [tiny.prepared]
    unfinished.mkdir()  # it was killed as soon as the data were in their place
    tiny.cache.unlink()
    assert_tiny(tiny)
    assert list(tiny.prepared.parent.iterdir()) == [tiny.prepared]


def test_what_cannot_be_removed_is_not_taken_for_prepared(tiny, monkeypatch):
    unfinished = tiny.prepared.with_name("3.0.1.preparing")
    unfinished.mkdir(parents=True)

    def rmtree(path, ignore_errors=False):
        if not ignore_errors:
            raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(builder.shutil, "rmtree", rmtree)
        with pytest.raises(UserError, match=f"{unfinished}: Input/output error"):
            data.load(tiny.name, "train")
    assert_tiny(tiny)
    unfinished.mkdir()
    tiny.cache.unlink()
    monkeypatch.setattr(builder.shutil, "rmtree", rmtree)
    assert_tiny(tiny)  # the data are there, so the rest does no harm


def test_data_are_in_their_place_once_their_digests_are_there(tiny, monkeypatch):
    monkeypatch.setattr(seal, "write_text", failing(UserError("full")))
    with pytest.raises(UserError, match="full"):
        data.load(tiny.name, "train")
    assert list(tiny.prepared.parent.iterdir()) == []


def test_what_tfds_itself_has_prepared_is_used_without_digests(tiny, capfd):
    data.source(tiny.name, "train")
    (tiny.prepared / seal.FILE).unlink()
    capfd.readouterr()
    assert_tiny(tiny)
    assert capfd.readouterr().err == ""


def test_damaged_prepared_data_is_not_fetched(tiny, flip):
    data.source(tiny.name, "train")
    flip(tiny.shard)
    with pytest.raises(UserError, match="damaged"):
        data.source(tiny.name, "train").fetch(range(50))


@pytest.mark.slow
def test_prepared_data_that_is_not_mnist_is_never_used(tiny, mnist_dir, capfd):
    tiny.serve("http://127.0.0.1:9/tiny/", name="mnist", packaged=tiny.manual)
    data.source(tiny.name, "train")  # prepared as mnist, and is something else
    test = data.load("mnist", "test")
    assert len(test.labels) == 10000
    err = capfd.readouterr().err
    expected, found = re.search(DIGESTS, err).groups()
    assert expected == catalog.find("mnist").sha256 != found
    assert str(tiny.folder / "mnist" / "3.0.1") in err


@pytest.mark.slow
def test_two_processes_prepare_once(tmp_path):
    code = "from mnist_jax import data; print(data.load('mnist', 'test').labels.sum())"
    env = os.environ | {"TFDS_DATA_DIR": str(tmp_path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env}
    processes = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(2)]
    ends = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert ends[0][0] == ends[1][0] == "44434\n"
    assert sum(err.count("preparing") for _, err in ends) == 1


def test_waits_for_the_lock_and_says_so(tiny, capfd):
    loaded = []
    thread = threading.Thread(target=lambda: loaded.append(data.load(tiny.name, "test")))
    with exclusive(catalog.find(tiny.name)):
        thread.start()
        thread.join(0.3)
        assert not loaded
    thread.join()
    assert len(loaded[0].labels) == 20
    lines = capfd.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["another", "preparing"]
    assert str(tiny.folder) in lines[0]


def test_is_mapped_and_not_read_into_memory(tiny):
    data.load(tiny.name, "train")
    images = data.load(tiny.name, "train").images
    base = images
    while getattr(base, "base", None) is not None:
        base = base.base
    assert isinstance(base.obj, mmap.mmap)
    assert not images.flags.writeable
    whole = images.copy()
    tiny.cache.unlink()  # what is replaced or removed stays as it was for those that use it
    np.testing.assert_array_equal(images, whole)
