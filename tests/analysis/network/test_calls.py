"""Going between a network and its parts."""

import jax.numpy as jnp
import pytest
from flax import nnx

from mnist_jax.analysis.network.calls import Part, intercepted
from mnist_jax.models.layers import Dense, Flatten, Sequence


class Doubling(nnx.Module):
    def __call__(self, x):
        return 2 * x


class Twice(Doubling):
    """Calls the method of its base class, and a part."""

    def __init__(self):
        self.inner = Doubling()

    def __call__(self, x):
        return self.inner(super().__call__(x))


class Net(nnx.Module):
    def __init__(self):
        self.twice = Twice()
        self.unused = Doubling()

    def __call__(self, x):
        return self.twice(x) + self.twice(x)


def seen_in(module, *args, **kwargs):
    """The calls of the parts of a module, and what the module returns."""
    seen = []

    def around(part: Part, call, args, kwargs):
        seen.append((part.name, part.depth))
        return call(*args, **kwargs)

    with intercepted(module, around):
        return seen, module(*args, **kwargs)


def test_each_call_of_a_part_is_seen_once_with_its_depth():
    seen, result = seen_in(Net(), jnp.ones(()))
    assert seen == [("twice", 0), ("twice.inner", 1)] * 2
    assert result == 8


def test_the_network_itself_and_containers_are_no_parts():
    rngs = nnx.Rngs(0)
    head = Sequence({"output": Dense(4, 3, rngs=rngs)})
    module = Sequence({"flatten": Flatten(), "head": head})
    seen, _ = seen_in(module, jnp.ones((2, 2, 2)), train=False)
    assert seen == [("flatten", 0), ("head.output", 0), ("head.output.normalise", 1)]


def test_only_the_layers_of_a_container_are_left_out_of_a_name():
    class Own(nnx.Module):
        def __init__(self):
            self.layers = nnx.List([Doubling(), Sequence({"flatten": Flatten()})])

        def __call__(self, x):
            return self.layers[1](self.layers[0](x), train=False)

    seen, _ = seen_in(Own(), jnp.ones((2, 2, 2)))
    assert seen == [("layers.0", 0), ("layers.1.flatten", 0)]


def test_what_goes_between_decides_what_is_passed_on_and_returned():
    net = Net()

    def around(part: Part, call, args, kwargs):
        return call(args[0] + 1) if part.depth == 0 else args[0]

    with intercepted(net, around):
        assert net(jnp.ones(())) == 8  # (1 + 1) doubled by the base class alone, twice


def test_classes_are_as_before_also_after_an_error():
    before = {c: c.__call__ for c in (Doubling, Twice, Net)}
    with pytest.raises(RuntimeError), intercepted(Net(), lambda *_: None):
        raise RuntimeError
    assert {c: c.__call__ for c in before} == before
