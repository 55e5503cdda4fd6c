"""What counts as a change of the user's own code, and which modules are examined."""

import pytest

from mnist_jax import code_digest
from mnist_jax.config import parse
from mnist_jax.errors import UserError
from mnist_jax.training import own_code

SOURCE = '''"""A module."""

RATE = 0.5


class Own:
    """A class."""

    def __call__(self, x):
        """Doubles."""
        return x * 2


async def wait():
    """Waits."""


def get_config():
    return 1


def get_sweep():
    return 2
'''


def changed(old: str, new: str) -> str:
    assert SOURCE.count(old) == 1
    return SOURCE.replace(old, new)


@pytest.mark.parametrize(
    "source",
    [
        changed('"""A module."""\n', ""),
        changed('"""A class."""', '"""Another one."""'),
        changed('    """A class."""\n', ""),
        changed('"""Doubles."""', "'''Twice as much.'''"),
        changed('"""Waits."""', '"""Waits long."""'),
        changed("RATE = 0.5", "RATE = (  # a comment\n    0.50\n)"),
        changed("x * 2", "(x * 2)"),
        changed("return 1", "return 3"),
        changed("return 2", "return 3"),
        SOURCE.partition("def get_config")[0],
    ],
)
def test_what_is_no_change(source):
    assert code_digest.digest(source.encode()) == code_digest.digest(SOURCE.encode())


@pytest.mark.parametrize(
    "source",
    [
        changed("RATE = 0.5", "RATE = 0.6"),
        changed("x * 2", "x * 3"),
        changed("x * 2", "x * 2.0"),
        changed("async def", "def"),
        changed("class Own", "class Other"),
        changed("RATE = 0.5", 'RATE = 0.5\nNAME = """A name."""'),
        changed("    def __call__", "    def get_config(self):\n        pass\n\n    def __call__"),
        changed("def get_config", "def get_configuration"),
    ],
)
def test_what_is_a_change(source):
    assert code_digest.digest(source.encode()) != code_digest.digest(SOURCE.encode())


def test_the_modules_that_decide_the_weights():
    config = parse(
        {
            "model": {"name": "a.b:Model"},
            "loss": {"name": "c:loss", "gamma": 2.0},
            "augment": {"functions": ("d:cut", {"name": "e:mix", "alpha": 1.0})},
            "optimizer": {"name": "f:sgd"},
            "schedule": {"name": "g:warmup"},
            "data": {"name": "h:Builder"},
            "metrics": ("i:metric",),
            "loggers": ("j:logger",),
        }
    )
    assert sorted(own_code.modules(config)) == ["a.b", "c", "d", "e", "f", "g", "h"]
    assert own_code.modules(parse({})) == []


def test_modules_without_source_are_left_out(user_module):
    user_module("with_source", SOURCE)
    found = own_code.read(["with_source", "math", "sys", "missing", "missing.part", "os.path"])
    assert list(found) == ["with_source", "os.path"]  # os.path is posixpath, written in Python


def test_a_module_is_found_in_the_current_folder_and_not_imported(user_module):
    user_module("with_source", "raise RuntimeError\n")
    assert own_code.read(["with_source"])["with_source"]["file"].endswith("with_source.py")


def test_a_module_that_is_not_python_is_left_out(user_module):
    user_module("broken", "def")
    assert own_code.read(["broken"]) == {}


def test_what_is_recorded_stays_until_it_changes(tmp_path):
    own_code.record(tmp_path, {})
    assert not (tmp_path / own_code.FILE).exists()
    assert own_code.facts(tmp_path) == {}
    first = {"a": {"file": "a.py", "sha256": "1"}}
    own_code.record(tmp_path, first)
    own_code.record(tmp_path, {"a": {"file": "moved/a.py", "sha256": "1"}})
    assert own_code.recorded(tmp_path) == first
    for digest in ("2", "3"):
        own_code.record(tmp_path, {"a": {"file": "a.py", "sha256": digest}})
    own_code.record(tmp_path, {"b": {"file": "b.py", "sha256": "4"}})
    assert own_code.recorded(tmp_path) == {
        "a": {"file": "a.py", "sha256": "3", "earlier": ["1", "2"]},
        "b": {"file": "b.py", "sha256": "4"},
    }
    assert own_code.facts(tmp_path) == {"code": {"a": "3", "b": "4"}}


def test_several_changed_files_are_named(tmp_path):
    code = {name: {"file": f"{name}.py", "sha256": "1"} for name in "abc"}
    own_code.record(tmp_path, code)
    now = code | {name: {"file": f"{name}.py", "sha256": "2"} for name in "ac"}
    with pytest.raises(UserError, match=r"^a\.py, c\.py: their code has changed since"):
        own_code.refuse_changes(tmp_path, now)
    own_code.refuse_changes(tmp_path, code)
