"""The order in which an epoch visits the training examples."""

import numpy as np


def permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    """Returns a permutation of `range(count)` that is a pure function of its arguments.

    It sorts raw Philox words, whose stream NumPy guarantees never to change (NEP 19), unlike that
    of `Generator.permutation`; a run can therefore be resumed under another version of NumPy. The
    index of each word is stored in its low bits, because sorting plain integers is several times as
    fast as `argsort`.

    Returns:
      `[count]` int32.
    """
    words = np.random.Philox(np.random.SeedSequence((seed, epoch))).random_raw(count)
    bits = np.uint64(count.bit_length())
    words = words >> bits << bits | np.arange(count, dtype=np.uint64)
    words.sort()
    return (words & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int32)
