"""Both feeds give the same batches; how many steps a call has changes no bit."""

import dataclasses
import tracemalloc

import jax
import numpy as np
import pytest

import mnist_jax
from mnist_jax import data, experiment
from mnist_jax.config import parse
from mnist_jax.data import feed as feeds
from mnist_jax.data.feed import chunk_length, open_feed
from mnist_jax.errors import UserError
from mnist_jax.training import program as programs
from mnist_jax.training import step
from mnist_jax.training.program import prepare_many, prepare_one
from tests.training import small

SPLIT = "train[:1000]+train[50000:50040]"  # 1040 examples: 16 steps of 64, and a rest
PLACEMENTS = ("device", "host")


def configured(placement: str = "device", **values):
    values = {"batch_size": 64, "num_epochs": 2, **values}
    return parse(
        {"data": {"train_split": SPLIT, "val_split": "", "placement": placement}, **values}
    )


def opened(placement: str, *, seeds=None, most_steps=None, **values):
    return open_feed(configured(placement, **values), jax.device_put, seeds, most_steps)


def batches(feed, epoch, start=0, member=0):
    """Every batch of an epoch, as the step of a network sees it."""
    for chunk in feed.chunks(epoch, start):
        for row in range(chunk.stop - chunk.start):
            batch = jax.tree.map(lambda x, row=row: x[member, row], chunk.rows)
            yield jax.tree.map(np.asarray, feed.fetch(feed.resident, batch))


def lengths_of(feed):
    return [chunk.stop - chunk.start for chunk in feed.chunks(epoch=0)]


@pytest.mark.usefixtures("mnist")
def test_both_placements_give_the_same_examples_in_the_same_order():
    for ours, theirs in zip(*(batches(opened(p), epoch=3) for p in PLACEMENTS), strict=True):
        assert {k: (v.shape, v.dtype) for k, v in ours.items()} == {
            "image": ((64, 28, 28, 1), np.uint8),
            "label": ((64,), np.int32),
            "position": ((64,), np.int32),
        }
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)
        np.testing.assert_array_equal(ours["position"], np.arange(64))


@pytest.mark.usefixtures("mnist")
def test_an_epoch_visits_each_example_at_most_once():
    split = data.load("mnist", SPLIT)
    feed = opened("device")
    indices = [np.concatenate([c.rows["index"].ravel() for c in feed.chunks(e)]) for e in (0, 1)]
    for order in indices:
        assert len(order) == len(np.unique(order)) == 1024
        assert order.max() < len(split.labels)
    assert np.any(indices[0] != indices[1])
    shown = np.concatenate([batch["label"] for batch in batches(feed, epoch=0)])
    np.testing.assert_array_equal(shown, split.labels[indices[0]])


@pytest.mark.usefixtures("mnist")
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(
    ("chunk_steps", "lengths"),
    [(0, [16]), (16, [16]), (8, [8, 8]), (7, [7, 7, 2]), (5, [5, 5, 6]), (100, [16])],
)
def test_an_epoch_is_a_sequence_of_chunks(placement, chunk_steps, lengths):
    feed = opened(placement, chunk_steps=chunk_steps)
    assert feed.steps_per_epoch == 16
    chunks = list(feed.chunks(epoch=0))
    assert lengths_of(feed) == lengths
    assert [c.start for c in chunks] == [0, *np.cumsum(lengths)[:-1]]
    shapes = feed.shapes()
    assert set(shapes) == set(lengths)
    for chunk in chunks:
        found = jax.tree.map(lambda x: (x.shape, x.dtype), chunk.rows)
        expected = shapes[chunk.stop - chunk.start]
        assert found == jax.tree.map(lambda x: (x.shape, x.dtype), expected)


@pytest.mark.usefixtures("mnist")
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_an_epoch_is_taken_up_where_it_was_left(placement):
    feed = opened(placement, chunk_steps=5)
    whole = list(batches(feed, epoch=1))
    rest = list(batches(feed, epoch=1, start=10))
    assert [c.start for c in feed.chunks(1, start=5)] == [5, 10]
    jax.tree.map(np.testing.assert_array_equal, rest, whole[10:])
    assert list(feed.chunks(1, start=16)) == []


@pytest.mark.usefixtures("mnist")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"placement": "devise"}, r"config.data.placement: 'devise'.*device.*host"),
        ({"batch_size": 1041}, r"config.batch_size: 1041 is more than the 1040 examples of 'train"),
    ],
)
def test_what_cannot_be_fed_is_refused_by_name(values, message):
    with pytest.raises(UserError, match=message):
        opened(**{"placement": "device", **values})


@pytest.mark.usefixtures("mnist")
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_each_network_follows_the_order_of_its_own_seed(placement):
    seeds = (5, 0, 5, 2**32 - 1)
    feed = opened(placement, seeds=seeds, chunk_steps=5)
    assert {its["label"].shape[0] for its in feed.shapes().values() if "label" in its} <= {4}
    for member, seed in enumerate(seeds):
        alone = opened(placement, seed=seed, chunk_steps=5)
        ours, theirs = list(batches(feed, 1, member=member)), list(batches(alone, 1))
        assert len(ours) == len(theirs) == 16
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.usefixtures("mnist")
def test_an_example_is_read_once_in_a_chunk_however_many_networks_see_it(monkeypatch):
    read = []
    original = data.source

    class Counted:
        def __init__(self, source):
            self.source = source

        def fetch(self, rows):
            read.append(np.asarray(rows))
            return self.source.fetch(rows)

    monkeypatch.setattr(data, "source", lambda *names: Counted(original(*names)))
    chunks = list(opened("host", seeds=(0, 1, 2, 0)).chunks(epoch=0))
    assert len(chunks) == len(read) == 1
    assert len(read[0]) == len(np.unique(read[0])) <= 1040
    assert chunks[0].rows["image"].shape == (4, 16, 64, 28, 28, 1)
    read.clear()
    for _ in opened("host", seeds=(0, 1, 2, 0), chunk_steps=4).chunks(epoch=0):
        assert len(read[-1]) == len(np.unique(read[-1])) < 3 * 4 * 64
    assert len(read) == 4


@pytest.mark.parametrize("most", [-1, 0, 1, 2, 3, 7, 10, 64, 500])
def test_a_chunk_is_never_longer_than_it_may_be(most):
    for steps in (1, 2, 3, 7, 16, 97, 429, 430):
        for wanted in (1, 2, 5, 16, 100, 429, 1000):
            length = chunk_length(steps, wanted, most)
            assert 1 <= length <= max(most, 2)  # a single step is rounded otherwise
            assert length <= wanted
            if wanted <= most:
                assert length == wanted


@pytest.mark.parametrize(
    ("steps", "most", "length"),
    [
        (16, 10, 8),  # divides
        (429, 500, 429),
        (429, 250, 143),  # 3 * 143
        (430, 216, 215),
        (97, 50, 50),  # a prime number has no such length
        (16, 3, 2),
        (5, 3, 3),
        (16, 0, 2),
    ],
)
def test_a_chunk_divides_an_epoch_where_it_can(steps, most, length):
    assert chunk_length(steps, steps, most) == length


@pytest.mark.usefixtures("mnist")
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(
    ("most", "chunk_steps", "lengths"),
    [
        (None, 0, [16]),
        (16, 0, [16]),
        (8, 0, [8, 8]),
        (7, 0, [4, 4, 4, 4]),  # 7 does not divide 16
        (8, 5, [5, 5, 6]),  # fewer are wanted
        (0, 0, [2] * 8),
    ],
)
def test_the_chunk_of_many_networks_is_bounded(placement, most, chunk_steps, lengths):
    feed = opened(placement, seeds=range(4), most_steps=most, chunk_steps=chunk_steps)
    assert lengths_of(feed) == lengths
    assert feed.shapes().keys() == set(lengths)


@pytest.mark.usefixtures("mnist")
@pytest.mark.parametrize("count", [1, 4])
def test_the_chunk_from_the_host_is_bounded_by_its_bytes(monkeypatch, count):
    image, batch = 28 * 28, 64
    monkeypatch.setattr(feeds, "HOST_BYTES", 4 * count * batch * image)
    feed = opened("host", seeds=range(count))
    assert lengths_of(feed) == [4, 4, 4, 4]
    for chunk in feed.chunks(epoch=0):
        assert chunk.rows["image"].nbytes <= feeds.HOST_BYTES
    assert lengths_of(opened("device", seeds=range(count))) == [16]
    assert lengths_of(opened("host", seeds=range(count), chunk_steps=3)) == [3, 3, 3, 3, 4]


@pytest.mark.usefixtures("mnist")
@pytest.mark.parametrize("count", [1, 20])
def test_an_epoch_of_the_whole_split_from_the_host_is_many_chunks(count):
    whole = parse({"data": {"placement": "host", "val_split": ""}})
    shapes = open_feed(whole, jax.device_put, range(count)).shapes()
    sizes = [int(np.prod(its["image"].shape)) for its in shapes.values()]
    assert max(sizes) <= feeds.HOST_BYTES + count * 128 * 784  # one step may join the last
    assert min(shapes) > 1


@pytest.mark.usefixtures("mnist")
@pytest.mark.parametrize(
    ("start", "bounds"),
    [
        (0, [(0, 5), (5, 10), (10, 16)]),
        (7, [(7, 10), (10, 16)]),
        (9, [(9, 16)]),  # no single step, before or behind
        (4, [(4, 10), (10, 16)]),
        (12, [(12, 16)]),
        (15, [(15, 16)]),
        (16, []),
    ],
)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_an_epoch_is_taken_up_within_a_chunk(placement, start, bounds):
    """As one is that was left on another number of devices, whose chunks had another length."""
    feed = opened(placement, chunk_steps=5)
    assert [(chunk.start, chunk.stop) for chunk in feed.chunks(1, start)] == bounds
    whole = list(batches(feed, epoch=1))
    rest = list(batches(feed, epoch=1, start=start))
    jax.tree.map(np.testing.assert_array_equal, rest, whole[start:])


def trained(**values):
    """The final state and the rows of two epochs on real data, by all devices."""
    mlp = {"name": "mlp", "hidden": (4,), "dropout": 0.1}
    program = prepare_one(configured(**{"model": mlp, **values}))
    at = small.trained(program)
    return program.layout.members(at.state), small.untimed(at.rows[0])


@pytest.fixture(scope="module")
def reference(mnist_dir):
    """What a run with its data on the device and an epoch a chunk comes to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(mnist_dir))
        return trained()


@pytest.mark.usefixtures("mnist")
@pytest.mark.parametrize(
    ("placement", "chunk_steps"),
    [("device", 8), pytest.param("device", 5, marks=pytest.mark.slow), ("host", 5)],
)
def test_neither_placement_nor_chunks_change_a_bit(reference, placement, chunk_steps):
    state, rows = trained(placement=placement, chunk_steps=chunk_steps)
    jax.tree.map(np.testing.assert_array_equal, state, reference[0])
    assert rows == reference[1]
    assert [row["step"] for row in rows] == [16, 32]


@pytest.mark.slow
@pytest.mark.usefixtures("mnist")
def test_a_rest_of_one_step_is_rounded_as_the_others_are():
    cnn = {"name": "cnn", "features": (4,), "dense": (8,)}
    whole = trained(model=cnn, parallel="jit")
    chunks = trained(model=cnn, parallel="jit", placement="host", chunk_steps=5)
    jax.tree.map(np.testing.assert_array_equal, chunks[0], whole[0])
    assert chunks[1] == whole[1]


@pytest.mark.usefixtures("mnist")
def test_training_learns_something(reference):
    first, second = reference[1]
    assert second["train_loss"] < first["train_loss"] < 2.5
    assert second["train_accuracy"] > 0.2


@pytest.mark.slow
@pytest.mark.usefixtures("mnist", "quick_compiles")
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_no_placement_and_no_bound_changes_a_bit_of_many_networks(monkeypatch, model):
    networks = {
        "mlp": {"name": "mlp", "hidden": (4,), "dropout": 0.1},
        "cnn": {"name": "cnn", "features": (2,), "dense": (), "normalisation": "batch"},
    }
    config = configured(model=networks[model], num_epochs=1)
    seeds = (0, 3, 2**32 - 1)

    def final(placement, most):
        its = dataclasses.replace(config.data, placement=placement)
        configs = [dataclasses.replace(config, data=its, seed=seed) for seed in seeds]
        with pytest.MonkeyPatch.context() as patch, small.on_devices(2):
            patch.setattr(programs, "WORK_AT_A_TIME", most * programs._work(config))
            program = prepare_many(configs)
        at = small.trained(program)
        return program.layout.members(at.state), set(program.chunks)

    (whole, one), (host, two) = final("device", 1000), final("host", 15)
    assert (one, two) == ({16}, {4})  # a device computes two networks, one after the other
    small.assert_same_bits(host, whole)


@pytest.mark.slow
@pytest.mark.usefixtures("mnist")
@pytest.mark.parametrize(
    ("placement", "chunk_steps", "lengths"), [("device", 0, 1), ("device", 5, 2), ("host", 5, 2)]
)
def test_a_step_is_traced_once_for_each_length_of_chunk(
    monkeypatch, placement, chunk_steps, lengths
):
    traced, compiled, original = [], [], step.train_step
    monkeypatch.setattr(step, "train_step", lambda *a: [traced.append(1), original(*a)][1])

    def listen(event, seconds, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(details.get("fun_name", ""))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        program = prepare_one(configured(placement, num_epochs=4, chunk_steps=chunk_steps))
        assert len(traced) == lengths
        by_epoch = []
        small.trained(program, save=lambda at: by_epoch.append(len(compiled)))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(traced) == lengths
    assert len(by_epoch) == 4
    assert compiled
    assert by_epoch[0] == by_epoch[-1], f"compiled after the first epoch: {compiled[by_epoch[0] :]}"


@pytest.mark.usefixtures("mnist", "quick_compiles")
def test_from_the_host_no_split_is_read_whole(monkeypatch):
    """Only the examples of a chunk, and, to evaluate, so many bytes of a split."""
    values = {"placement": "host", "train_split": SPLIT, "val_split": "train[51000:53700]"}
    config = parse({"data": values, "model": {"name": "mlp", "hidden": (8,)}})
    load = data.load

    def refuse(name, split):
        assert split != SPLIT
        return load(name, split)

    monkeypatch.setattr(data, "load", refuse)
    with small.on_devices(2):
        whole = prepare_one(config)
        monkeypatch.setattr(feeds, "HOST_BYTES", 1000 * 784)
        program = prepare_one(config)
    assert whole.validate
    assert program.validate
    assert (whole.validate.parts, program.validate.parts) == (1, 2)
    state = program.start()
    weights = {"params": state["params"], "variables": state["variables"]}
    ours, theirs = program.validate(weights), whole.validate(weights)
    assert ours.values["loss"].shape == (1, 2700)
    np.testing.assert_array_equal(ours.values["loss"], theirs.values["loss"])
    np.testing.assert_array_equal(ours.finite, theirs.finite)


@pytest.mark.usefixtures("mnist", "quick_compiles")
def test_from_the_host_a_split_of_several_ranges_is_not_copied_whole(monkeypatch, tmp_path):
    """Neither to validate nor to evaluate: NumPy tells what it allocates."""
    joined = "train[1000:30000]+train[30000:]"
    size = len(data.load("mnist", joined).labels) * 784
    config = mnist_jax.default()
    config.num_epochs = 1
    config.model = dict(name="mlp", hidden=(8,))
    config.data = dict(placement="host", train_split="train[:1000]", val_split=joined)
    monkeypatch.setattr(feeds, "HOST_BYTES", 1 << 20)
    monkeypatch.setattr(experiment, "publish", lambda *arguments, **keywords: {})
    mnist_jax.train(config, workdir=tmp_path / "first")  # what it imports does not count
    tracemalloc.start()
    try:
        run = mnist_jax.train(config, workdir=tmp_path / "second")
        mnist_jax.load(run.workdir).evaluate(joined)
        assert tracemalloc.get_traced_memory()[1] < size * 3 / 4
    finally:
        tracemalloc.stop()
    split = data.load("mnist", joined)
    whole = data.load("mnist", "train[1000:]").images
    for which in (slice(28990, 29010), np.array([58999, 0, 29000]), 28999, -1, slice(None)):
        np.testing.assert_array_equal(split.stored[which], whole[which])
