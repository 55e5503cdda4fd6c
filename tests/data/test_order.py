import numpy as np
import pytest

from mnist_jax.data.order import permutation


@pytest.mark.parametrize("count", [1, 2, 1000, 55000])
@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (3, 7)])
def test_an_epoch_visits_each_example_once(seed, epoch, count):
    order = permutation(seed, epoch, count)
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(count))


def test_the_order_is_a_function_of_seed_and_epoch():
    np.random.seed(5)  # a global state that must not matter
    first = permutation(0, 0, 1000)
    np.random.seed(6)
    np.testing.assert_array_equal(permutation(0, 0, 1000), first)
    others = [permutation(*which, 1000) for which in ((0, 1), (1, 0), (1, 1), (0, 10), (10, 0))]
    for other in others:
        assert (other == first).mean() < 0.01
    assert len({tuple(order) for order in others}) == len(others)


@pytest.mark.parametrize(
    ("seed", "epoch", "expected"),
    [
        (0, 0, [18634, 19031, 31749, 40765, 50483]),
        (0, 1, [12887, 51762, 18210, 1165, 52905]),
        (7, 3, [45017, 36162, 47407, 14147, 17156]),
    ],
)
def test_the_order_is_pinned(seed, epoch, expected):
    assert permutation(seed, epoch, 55000)[:5].tolist() == expected, (
        "the order of the examples changed: no earlier run can be reproduced or resumed"
    )
