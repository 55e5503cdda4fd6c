import pytest

from tests import datasets


@pytest.fixture
def made_up(tmp_path, monkeypatch, user_module):
    """The made-up data sets of other shapes."""
    user_module("made_up", datasets.MODULE)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
