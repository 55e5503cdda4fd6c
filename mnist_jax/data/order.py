"""The order in which an epoch visits the training examples."""

import numpy as np


def permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    """`[count]` int32: a permutation that is a pure function of its arguments.

    It sorts raw Philox words, whose stream NumPy guarantees never to change (NEP 19), unlike that
    of `Generator.permutation`, so that a run can be resumed under another NumPy.
    """
    words = np.random.Philox(np.random.SeedSequence((seed, epoch))).random_raw(count)
    return np.argsort(words, kind="stable").astype(np.int32)
