import jax
import numpy as np
import pytest

from mnist_jax import data
from mnist_jax.config import parse
from mnist_jax.data.feed import open_feed
from mnist_jax.errors import UserError
from mnist_jax.training import step
from mnist_jax.training.loop import train
from mnist_jax.training.position import Position
from mnist_jax.training.run import prepare
from mnist_jax.training.stop import StopSignal

SPLIT = "train[:1000]+train[50000:50040]"  # 1040 examples: 16 steps of 64, and a rest
PLACEMENTS = ("device", "host")


def configured(placement: str = "device", **values):
    values = {"batch_size": 64, "num_epochs": 2, **values}
    return parse(
        {"data": {"train_split": SPLIT, "val_split": "", "placement": placement}, **values}
    )


def opened(placement: str, **values):
    return open_feed(
        configured(placement, **values), jax.sharding.SingleDeviceSharding(jax.devices()[0])
    )


def batches(feed, epoch, start=0):
    """Every batch of an epoch, as the step sees it."""
    for chunk in feed.chunks(epoch, start):
        for row in range(chunk.stop - chunk.start):
            batch = jax.tree.map(lambda x, row=row: x[row], chunk.batches)
            yield jax.tree.map(np.asarray, feed.fetch(feed.resident, batch))


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
    indices = [np.concatenate([c.batches["index"].ravel() for c in feed.chunks(e)]) for e in (0, 1)]
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
    assert [c.stop - c.start for c in chunks] == lengths
    assert [c.start for c in chunks] == [0, *np.cumsum(lengths)[:-1]]
    shapes = feed.shapes()
    assert set(shapes) == set(lengths)
    for chunk in chunks:
        found = jax.tree.map(lambda x: (x.shape, x.dtype), chunk.batches)
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


def trained(**values):
    """The final state and the rows of two epochs on real data, by all devices."""
    mlp = {"name": "mlp", "hidden": (4,), "dropout": 0.1}
    run = prepare(configured(**{"model": mlp, **values}))
    at = Position(run.place(run.initial), [])
    train(run, at, StopSignal(), save=lambda at, row: None)
    rows = [
        {k: v for k, v in r.items() if k not in ("seconds", "images_per_second")} for r in at.rows
    ]
    return jax.device_get(at.state), rows


@pytest.fixture(scope="module")
def reference(mnist_dir):
    """What a run with its data on the device and an epoch a chunk comes to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(mnist_dir))
        return trained()


@pytest.mark.usefixtures("mnist")
@pytest.mark.parametrize(("placement", "chunk_steps"), [("device", 8), ("device", 5), ("host", 5)])
def test_neither_placement_nor_chunks_change_a_bit(reference, placement, chunk_steps):
    state, rows = trained(placement=placement, chunk_steps=chunk_steps)
    jax.tree.map(np.testing.assert_array_equal, state, reference[0])
    assert rows == reference[1]
    assert [row["step"] for row in rows] == [16, 32]


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
        run = prepare(configured(placement, num_epochs=4, chunk_steps=chunk_steps))
        at = Position(run.place(run.initial), [])
        assert len(traced) == lengths
        by_epoch = []
        train(run, at, StopSignal(), save=lambda at, row: by_epoch.append(len(compiled)))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(traced) == lengths
    assert len(by_epoch) == 4
    assert compiled
    assert by_epoch[0] == by_epoch[-1], f"compiled after the first epoch: {compiled[by_epoch[0] :]}"
