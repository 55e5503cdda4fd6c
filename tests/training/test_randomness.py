import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnist_jax.randomness import example_keys, root_key, stream_key

pytestmark = pytest.mark.usefixtures("strict_dtypes", "quick_compiles")


def data(keys) -> np.ndarray:
    return np.asarray(jax.random.key_data(keys))


def test_root_key_is_plain_data_and_a_function_of_the_seed():
    assert (root_key(3).shape, root_key(3).dtype) == ((2,), jnp.uint32)
    np.testing.assert_array_equal(root_key(3), root_key(3))
    assert np.any(root_key(3) != root_key(4))


def test_streams_steps_and_seeds_never_share_a_key():
    keys = [
        tuple(data(stream_key(root_key(seed), stream, step)))
        for seed in (0, 1)
        for stream in ("init", "augment", "dropout")
        for step in (0, 1, 2)
    ]
    assert len(set(keys)) == len(keys)


def test_a_key_is_pinned_so_that_runs_can_be_resumed_under_another_version():
    assert data(stream_key(root_key(7), "dropout", 5)).tolist() == [3534339144, 2536118751], (
        "the random keys changed: no earlier run can be reproduced or resumed to the same bits"
    )


def test_an_example_has_the_key_of_its_position_wherever_it_is_computed():
    root, step = root_key(0), jnp.int32(3)
    whole = data(example_keys(root, "augment", step, jnp.arange(16, dtype=jnp.int32)))
    part = data(example_keys(root, "augment", step, jnp.arange(8, 12, dtype=jnp.int32)))
    np.testing.assert_array_equal(part, whole[8:12])
    assert len(np.unique(whole, axis=0)) == 16
