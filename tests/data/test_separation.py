import shlex

import numpy as np
import pytest

from mnist_jax import data
from mnist_jax.data import separation
from mnist_jax.data.splits import resolve
from mnist_jax.errors import UserError

SHARDS = {"train": [30000, 30000], "test": [10000]}
OF_TEST = "rows of the test split, which may be used for neither training nor model selection"


def refused(train: str, val: str, shards=SHARDS) -> str:
    with pytest.raises(UserError) as caught:
        separation.check("digits", train, val, shards)
    return str(caught.value)


def proposed(message: str, field: str) -> str:
    """What the message says to write, as a shell reads it."""
    flag = shlex.split(message[message.index("--config") :])
    assert len(flag) == 1
    name, _, value = flag[0].partition("=")
    assert name == f"--config.data.{field}"
    return value


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("train[:55000]", "train[55000:]"),
        ("train", ""),
        ("train[:50%]", "train[50%:75%]"),
        ("train[:10]+train[20:30]", "train[10:20]"),
        ("train+train[:10]", ""),  # an example may be trained on twice
        ("train[:100]", "train[200:300]+train[200:300]"),
    ],
)
def test_splits_apart_pass(train, val):
    separation.check("digits", train, val, SHARDS)


@pytest.mark.parametrize(
    ("train", "val", "rows", "instead"),
    [
        ("all", "", 10000, "train"),
        ("test", "", 10000, "train"),
        ("test", "train[55000:]", 10000, "train[:55000]"),
        ("train+test[:10%]", "", 1000, "train"),
        ("train[:5]+test[9999:]+train[7:9]", "", 1, "train[:5]+train[7:9]"),
    ],
)
def test_training_on_test_rows_is_refused_however_it_is_written(train, val, rows, instead):
    said = refused(train, val)
    assert said.startswith(f"config.data.train_split: {train!r} holds {rows} {OF_TEST}")
    assert proposed(said, "train_split") == instead


@pytest.mark.parametrize(
    ("train", "val", "instead"),
    [
        ("train[:100]", "test", "train[100:]"),
        ("train[:50000]", "all", "train[50000:]"),
        ("train[:10]", "train[5:15]+test[:1]", "train[10:15]"),
        ("train", "test[:50%]", ""),
    ],
)
def test_choosing_on_test_rows_is_refused(train, val, instead):
    said = refused(train, val)
    assert said.startswith(f"config.data.val_split: {val!r} holds ")
    assert OF_TEST in said
    assert proposed(said, "val_split") == instead


@pytest.mark.parametrize(
    ("train", "val", "shared", "instead"),
    [
        ("train[:55000]", "train[50000:]", 5000, "train[55000:]"),  # what of it is not trained on
        ("train", "train[55000:]", 5000, ""),  # nothing is left
        ("train[:100]", "train[:50]", 50, "train[100:]"),  # what is left of train
        ("train[10%:20%]", "train[15%:]+train[:5%]", 3000, "train[:3000]+train[12000:]"),
        ("train[:100]+train[200:]", "train[90:210]", 20, "train[100:200]"),
    ],
)
def test_shared_rows_are_refused_with_what_to_write_instead(train, val, shared, instead):
    said = refused(train, val)
    assert f"{val!r} shares {shared} of its rows with the training split {train!r}" in said
    assert proposed(said, "val_split") == instead
    assert said.endswith(f"--config.data.val_split={shlex.quote(instead)}")
    separation.check("digits", train, instead, SHARDS)


def test_any_proposal_is_accepted():
    """Whatever is asked, one or two corrections as the messages say lead to splits apart."""
    random = np.random.default_rng(0)
    shards = {"train": [7], "extra": [4], "test": [5]}
    for _ in range(300):
        parts = []
        for _ in range(random.integers(2, 7)):
            name = random.choice(list(shards))
            start, stop = sorted(random.choice(shards[name][0] + 1, 2, replace=False))
            parts.append(f"{name}[{start}:{stop}]")
        at = random.integers(1, len(parts))
        asked = {"train_split": "+".join(parts[:at]), "val_split": "+".join(parts[at:])}
        for _ in range(3):
            try:
                separation.check("digits", asked["train_split"], asked["val_split"], shards)
                break
            except UserError as error:
                field = str(error).partition("config.data.")[2].partition(":")[0]
                asked[field] = proposed(str(error), field)
        else:
            pytest.fail(f"no end: {parts}, {asked}")
        assert resolve(asked["train_split"], shards)


@pytest.mark.parametrize("shards", [{"train": [10], "validation": [5]}, {"train": [9], "test": []}])
def test_without_a_test_split_nothing_can_be_evaluated(shards):
    said = refused("train", "", shards)
    assert said.startswith("config.data.name: digits has no split 'test'")
    assert all(name in said for name in shards)


def test_a_split_that_cannot_be_read_is_the_error_of_the_split():
    assert "'trian' cannot be read" in refused("trian", "")
    assert "'train[:70000]' cannot be read" in refused("train", "train[:70000]")


def test_by_the_name_of_a_data_set(mnist):
    data.check_splits(mnist, "train[:55000]", "train[55000:]")
    with pytest.raises(UserError, match=r"'all' holds 10000 rows of the test split"):
        data.check_splits(mnist, "all", "")
    with pytest.raises(UserError, match="no data set 'mnits'"):
        data.check_splits("mnits", "train", "")


def test_what_is_proposed_takes_no_further_split_in():
    shards = {"train": [7], "extra": [4], "test": [5]}
    said = refused("test", "train[5:]", shards)
    assert proposed(said, "train_split") == "train[:5]"
    assert proposed(refused("train[:5]", "test", shards), "val_split") == "train[5:]"


@pytest.mark.parametrize(
    ("split", "rows"),
    [
        ("", 0),
        ("train[:100]", 0),
        ("train[:100]+train[200:]", 0),
        ("train[:1000]+train[:1000]", 1000),
        ("train+train[:10]", 10),
        ("train[:10]+train[5:15]+train[14:16]", 6),
        ("train[:50%]+train[:30000]", 30000),
    ],
)
def test_rows_that_are_listed_again_are_told_and_count_twice_as_in_tfds(split, rows):
    said = separation.repeated("config.data.train_split", split, SHARDS)
    assert bool(said) == bool(rows)
    if rows:
        assert said.startswith(f"config.data.train_split: {split!r} lists {rows} rows again")


def test_check_splits_tells_of_each_split(mnist):
    said = data.check_splits(mnist, "train[:10]+train[:5]", "train[50:60]+train[59:61]")
    assert [line.split(":")[0] for line in said] == [
        "config.data.train_split",
        "config.data.val_split",
    ]
    assert data.check_splits(mnist, "train[:55000]", "train[55000:]") == []
    assert len(data.load(mnist, "train[:10]+train[:5]").labels) == 15
    assert data.count(mnist, "train[:10]+train[:5]") == 15
