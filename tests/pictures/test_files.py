"""Names of files, folders and patterns, and the files that they stand for."""

import pytest

from mnist_jax.pictures.files import find


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder `scans` in the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans" / "deeper").mkdir(parents=True)
    for name in ("b.png", "a.JPG", "c.webp", "notes.txt", "d.tiff", "deeper/e.png", "[1].png"):
        (tmp_path / "scans" / name).write_bytes(b"x")
    return tmp_path


def names(*given) -> list[str]:
    return [file.name for file in find(given) if not file.error]


def test_files_keep_their_order_and_names(folder):
    assert names("scans/c.webp", "scans/a.JPG", "scans/c.webp") == [
        "scans/c.webp",
        "scans/a.JPG",
        "scans/c.webp",
    ]
    assert names("scans/notes.txt") == ["scans/notes.txt"]  # as it was named, it is tried


def test_a_folder_stands_for_the_pictures_in_it(folder):
    assert names("scans") == [
        "scans/[1].png",
        "scans/a.JPG",
        "scans/b.png",
        "scans/c.webp",
        "scans/d.tiff",
    ]
    assert names(folder / "scans" / "deeper") == [str(folder / "scans" / "deeper" / "e.png")]


def test_patterns_are_expanded(folder):
    assert names("scans/?.*") == ["scans/a.JPG", "scans/b.png", "scans/c.webp", "scans/d.tiff"]
    assert names("**/*.png") == ["scans/[1].png", "scans/b.png", "scans/deeper/e.png"]
    assert names("scans/[1].png") == ["scans/[1].png"]  # a file of that name comes first


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scans/*.bmp", "no file matches this pattern"),
        ("empty", "contains no pictures (.png, .jpg, .webp, .gif, .tif, .bmp)"),
        ("https://example.org/a.png", "is a URL"),
        ("", "is empty"),
        ("a\0.png", "is no usable path"),
        (7, "is no usable path"),
    ],
)
def test_what_stands_for_nothing_has_an_error_of_its_own(folder, name, message):
    (folder / "empty").mkdir()
    before, found, after = find(["scans/b.png", name, "scans/c.webp"])
    assert (before.name, after.name) == ("scans/b.png", "scans/c.webp")
    assert message in found.error
    assert found.path is None
    assert found.name == str(name)


def test_a_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert [file.path for file in find(["~/scans/b.png"])] == [folder / "scans" / "b.png"]


def test_a_folder_that_may_not_be_listed(folder, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    (found,) = find(["scans"])
    assert found.error == "cannot be read: Permission denied"
