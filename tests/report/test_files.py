import pytest

from throughtime import report


def test_a_file_is_written_and_nothing_stays_beside_it(tmp_path):
    with report.written_whole(tmp_path / "report.html") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "report.html").read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "report.html"
    target.write_text("old")
    with pytest.raises(RuntimeError), report.written_whole(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_report_that_fails_leaves_nothing(tmp_path, linear):
    exam = linear()
    exam["l0"].attrs["carried"] = "no such state"
    with pytest.raises(KeyError):
        report.write_html({"": exam}, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"), report.written_whole(tmp_path):
        pass
