import pytest

from mnist_jax.analysis.sweep import settings
from tests.analysis.members import member


def split(*members: dict) -> tuple[dict, dict]:
    return settings.split([settings.flat(one["config"]) for one in members])


def test_varied_fields_leave_out_the_seed_and_come_in_ascending_order():
    members = [
        member(seed=seed, hidden=hidden, learning_rate=rate)
        for seed, (hidden, rate) in enumerate([((64,), 1e-2), ((), 1e-3), ((8, 8), 1e-2)])
    ]
    shared, varied = split(*members)
    assert varied == {"model.hidden": [(), (64,), (8, 8)], "optimizer.learning_rate": [1e-3, 1e-2]}
    assert shared == {
        "num_epochs": 3,
        "model.name": "mlp",
        "optimizer.name": "adam",
        "metrics": (),
        "best": "val_accuracy",
    }


def test_a_field_that_some_lack_varies():
    _, varied = split(member(hidden=None), member(hidden=(8,), decay=0.1))
    assert varied == {"model.hidden": [None, (8,)], "optimizer.decay": [None, 0.1]}


def test_functions_with_keywords_are_values_that_can_be_compared():
    named = [{"name": "mine:noise", "scale": [1, 2]}]
    _, varied = split(member(functions=named), member(functions=[]))
    assert [settings.format_value(value) for value in varied["optimizer.functions"]] == [
        "name-mine:noise-scale-1-2",
        "none",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[((128, 32), "128-32"), ((), "none"), ("", "none"), (None, "not set"), ("relu", "relu")],
        *[(1e-5, "1e-05"), (0.001, "0.001"), (1 / 3, "0.33333"), (3, "3"), (False, "False")],
    ],
)
def test_values_in_words(value, text: str):
    assert settings.format_value(value) == text


def test_names_of_fields_are_short_where_that_is_clear():
    names = settings.field_names(["optimizer.learning_rate", "model.name", "num_epochs"])
    assert list(names.values()) == ["learning rate", "model", "epochs"]
    clash = settings.field_names(["data.scale", "augment.scale"])
    assert list(clash.values()) == ["data.scale", "augment.scale"]
    words = settings.field_names(
        ["num_epochs", "model.epochs", "model.hidden", "own.hidden_layers"]
    )
    assert list(words.values()) == [
        *("num epochs", "model.epochs", "model.hidden", "own.hidden layers")
    ]


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ([1, 2.5], [1.0, 2.5]),
        ([(16,), (32,)], [16.0, 32.0]),
        ([(16, 16), (32, 32)], [16.0, 32.0]),
        ([(16,), (16, 16)], None),
        ([(16, 8), (32, 8)], None),
        ([(), (8,)], None),
        ([True, False], None),
        (["a", "b"], None),
        ([None, 1], None),
    ],
)
def test_what_counts_as_a_number(values: list, numbers: list | None):
    found = settings.numeric(values)
    assert (None if found is None else list(found.values())) == numbers
