"""Pictures of pages."""

from pathlib import Path

import pytest
from PIL import Image

from mnist_jax.analysis import page
from mnist_jax.errors import UserError


@pytest.mark.parametrize("read", [page.width, lambda path: page.picture(path, "alt")])
def test_a_picture_that_cannot_be_read_is_not_called_unwritable(tmp_path: Path, read):
    with pytest.raises(UserError, match=r"gone\.png cannot be read: No such file"):
        read(tmp_path / "gone.png")


@pytest.mark.parametrize("size", [(8, 9), (20_000, 10_000)], ids=["small", "refused by Pillow"])
def test_the_width_of_a_picture(tmp_path: Path, size: tuple[int, int]):
    Image.new("1", size).save(tmp_path / "picture.png")
    assert page.width(tmp_path / "picture.png") == size[0]
