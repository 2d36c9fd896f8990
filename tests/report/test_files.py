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


def test_a_folder_that_is_not_there_is_named(tmp_path):
    wanted = tmp_path / "missing" / "report.html"
    refused = pytest.raises(FileNotFoundError, match=rf"{wanted}: there is no folder {wanted.parent}")
    with refused, report.written_whole(wanted):
        pass


@pytest.mark.parametrize(("given", "error"), [({}, ValueError), ([], TypeError), ({"": 1}, TypeError)], ids=str)
def test_what_is_no_dict_of_examinations(tmp_path, given, error):
    with pytest.raises(error, match="examinations: expected"):
        report.write_html(given, tmp_path / "report.html")
