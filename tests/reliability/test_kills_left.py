"""What a command that was killed may leave, and what not."""

from benchmarks.reliability.killing import left


def test_data_whose_preparation_was_not_finished_are_left_over(tmp_path):
    (tmp_path / "patterns" / "1.0.0").mkdir(parents=True)
    (tmp_path / "patterns" / "1.0.0" / "a").touch()
    (tmp_path / "patterns" / "2.0.0.preparing").mkdir()
    names = [f"{tmp_path.name}/patterns/{name}" for name in ("1.0.0/a", "2.0.0.preparing")]
    assert left.prepared(tmp_path) == dict.fromkeys(names, "there")


def test_a_report_is_compared_but_for_its_numbers(tmp_path):
    def page(text):
        (tmp_path / "report.html").write_text(text)
        return left.contents(tmp_path)["report.html"]

    picture = '<html><img src="data:image/png;base64,{}">{}</html>\n'
    whole = page(picture.format("AB1=", "12.3\u00a0s"))
    assert page(picture.format("AB1=", "2\u00a0min 5\u00a0s")) == whole
    assert page(picture.format("AB2=", "12.3\u00a0s")) != whole
    assert page(picture.format("AB1=", "12.3\u00a0s in all")) != whole
    assert "damaged" in page(picture.format("AB1=", "12.3\u00a0s")[:-9])


def test_temporary_files_are_left_over_but_not_what_a_kill_has_to_leave(tmp_path):
    (tmp_path / "abctfds").mkdir()
    (tmp_path / "a1b2c3d4").write_text("blat")
    assert left.temporary(tmp_path) == {}
    (tmp_path / "abctfds" / "file").write_text("more")
    assert left.temporary(tmp_path) == {f"{tmp_path.name}/abctfds/file": "there"}
