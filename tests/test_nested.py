from mnist_jax.nested import leaves


def test_every_leaf_is_named_by_its_path():
    tree = {"a": 1, "b": {"c": None, "d": {"e": (1, 2)}}, "f": {}}
    assert list(leaves(tree).items()) == [("a", 1), ("b.c", None), ("b.d.e", (1, 2)), ("f", {})]


def test_dicts_below_the_depth_are_leaves():
    tree = {"a": 1, "b": {"c": {"d": 2}}}
    assert leaves(tree, depth=2) == {"a": 1, "b.c": {"d": 2}}
