import math

from mnist_jax.training import checkpoints
from mnist_jax.training.row_texts import RowTexts, rows_of
from tests.commands import read, rows, run

TINY = (
    "--config=configs/mlp_tiny.py",
    "--config.num_epochs=30",
    "--config.batch_size=50",
    "--config.keep_latest=100",
    "--config.data.train_split=train[:100]",
    "--config.data.val_split=",
)


def row(epoch, **values):
    return {"epoch": epoch, "train_loss": math.pi / epoch, "val_loss": None} | values


def test_rows_come_back_as_they_were():
    rows = [[row(1), row(2)], [], [row(1, top_3=1e-300)]]
    assert [rows_of(text) for text in RowTexts(3).of(rows)] == rows


def test_what_was_converted_is_not_looked_at_again():
    texts, rows = RowTexts(2), [row(epoch) for epoch in range(1, 4)]
    texts.of([rows[:2], rows[:1]])
    first, second = texts.of([[{}, {}, rows[2]], [{}]])
    assert rows_of(first) == rows
    assert rows_of(second) == rows[:1]


def test_an_epoch_adds_little_to_a_checkpoint_and_each_holds_its_own_rows(tmp_path):
    folder = tmp_path / "run"
    run("main", *TINY, f"--workdir={folder}")
    written = rows(folder)
    steps = checkpoints.steps(folder / "checkpoints")
    assert steps == [row["step"] for row in written]
    metadata = [folder / "checkpoints" / str(step) / "_CHECKPOINT_METADATA" for step in steps]
    sizes = [path.stat().st_size for path in metadata]
    assert sizes[29] - sizes[9] < 20 * 120
    for epoch, path in enumerate(metadata, start=1):
        (text,) = read(path)["custom_metadata"]["record"]["rows"]
        assert rows_of(text) == written[:epoch]
