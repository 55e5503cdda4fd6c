import pytest
import tensorflow_datasets as tfds

from mnist_jax.data.splits import resolve
from mnist_jax.errors import UserError

SHARDS = {"train": [30000, 30000], "test": [10000]}
INFOS = {
    name: tfds.core.SplitInfo(name=name, shard_lengths=lengths, num_bytes=0)
    for name, lengths in SHARDS.items()
}
GOOD = [
    "train",
    "test",
    "train[:55000]",
    "train[55000:]",
    "train[100:200]",
    "train[-100:]",
    "train[:-100]",
    "train[-200:-100]",
    "train[-60000:60000]",
    "train[:10%]",
    "train[33%:66%]",
    "train[:1shard]",
    "train[5_0:]",
    "test[10:]+train[:10]",
    "train + test",
    "all",
]


@pytest.mark.parametrize("spec", GOOD)
def test_means_what_tfds_means(spec):
    expected = []
    for part in tfds.core.ReadInstruction.from_spec(spec).to_absolute(INFOS):
        count = sum(SHARDS[part.splitname])
        stop = count if part.to is None else part.to
        expected.append((part.splitname, part.from_ or 0, stop))
    assert resolve(spec, SHARDS) == expected


def test_empty_selects_nothing():
    assert resolve("", SHARDS) == []


@pytest.mark.parametrize(
    "spec",
    [
        "training",
        "val[:10]",
        "train[:]",
        "train[:60001]",
        "train[-60001:]",
        "train[5]",
        "train[a:b]",
        "train[:1.5]",
        "train[1:2:3]",
        "train[:101%]",
        "all[:10]",
        "train+",
        " train",
        "train[",
        "train[200:100]",
        "train[60000:]",
    ],
)
def test_refuses_by_name_and_says_what_there_is(spec):
    with pytest.raises(UserError) as caught:
        resolve(spec, SHARDS)
    assert repr(spec) in str(caught.value)
    assert "train (60000 examples), test (10000 examples)" in str(caught.value)
