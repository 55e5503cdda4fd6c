from mnist_jax.nested import leaves


def test_every_leaf_is_named_by_its_path():
    tree = {"a": 1, "b": {"c": None, "d": {"e": (1, 2)}}, "f": {}}
    assert list(leaves(tree).items()) == [("a", 1), ("b.c", None), ("b.d.e", (1, 2)), ("f", {})]
