"""Digests of source code, by which changes of the user's own code are noticed."""

import ast
import hashlib
import inspect
import textwrap

SETTINGS = ("get_config", "get_sweep")  # the configuration checks what they return
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DOCUMENTED = (ast.Module, ast.ClassDef, *FUNCTIONS)


def digest(source: bytes) -> str:
    """Returns the SHA-256 of the syntax tree of a module's source code.

    Comments, formatting, docstrings and the functions `get_config` and `get_sweep` do not count.

    Raises:
      SyntaxError: the source is not Python.
      ValueError: the source contains null bytes.
    """
    tree = ast.parse(source)
    tree.body = [
        node for node in tree.body if not (isinstance(node, FUNCTIONS) and node.name in SETTINGS)
    ]
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def digest_of_class(cls: type) -> str:
    """Returns the digest of a class's source code; empty if there is no source."""
    try:
        return digest(textwrap.dedent(inspect.getsource(cls)).encode())
    except (OSError, TypeError, SyntaxError, ValueError):
        return ""
