"""Tables of clinical values: separators, encodings, numbers, and what is missing."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strokelens.cohorts import tables
from strokelens.cohorts.tables import clinical, number, read_rows, read_table, typed
from strokelens.errors import FileError


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_separator_is_that_of_the_header(tmp_path: Path, separator: str) -> None:
    (tmp_path / "x.csv").write_text(f"id{separator}nihss{separator}note\n\na {separator} 3{separator}'x'\n")
    assert read_rows(tmp_path / "x.csv") == [{"id": "a", "nihss": "3", "note": "'x'"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_the_encoding_is_utf_8_or_latin_1(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "x.csv").write_bytes("id,größe\na,3\n".encode(encoding))
    assert read_table(tmp_path / "x.csv")[0] == ["id", "größe"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "x.csv has 0 rows, not 1 to 100000; correct or remove it"),
        (
            b"a,b\n" + b'"' + b"x" * 200_000,
            "x.csv is no table (field larger than field limit (131072)); save it as CSV",
        ),
    ],
)
def test_what_is_no_table_is_told(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(FileError) as caught:
        read_table(tmp_path / "x.csv")
    assert str(caught.value) == text


def test_a_table_that_is_not_there_or_far_too_large_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match=r"^x\.csv cannot be read: No such file or directory; change its permissions$"):
        read_table(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("a,b\n")
    monkeypatch.setattr(tables, "_LARGEST_BYTES", 3)
    with pytest.raises(FileError, match=r"^x\.csv is larger than 16 MiB, which no table of patients is; remove it$"):
        read_table(tmp_path / "x.csv")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_written_number_is_read(value: float) -> None:
    assert number(repr(value)) == value


@pytest.mark.parametrize("cell", ["", "-", "–", "NaN", "n/a", "None", "inf", "1e999"])
def test_what_is_missing_is_no_number(cell: str) -> None:
    assert number(cell) is None


@pytest.mark.parametrize(("cell", "value"), [("3,5", 3.5), ("1,000.5", None), ("1,000,000", None), (" 7 ", 7.0)])
def test_one_comma_is_a_decimal_comma(cell: str, value: float | None) -> None:
    assert number(cell) == value


def test_text_is_kept_and_cut() -> None:
    assert typed("2b") == "2b"
    assert typed("x" * 100) == "x" * 80


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"NIHSS": "0"}, {"nihss": 0.0}),
        ({"age": "n/a", "sex": "female"}, {"sex": "F"}),
        ({"age": "old", "sex": "?"}, {}),
        ({"gender": "1"}, {"sex": "F"}),
        ({"gender": "2"}, {}),
        ({"sex": "x"}, {}),
    ],
)
def test_clinical_values_have_our_names_and_units(row: dict[str, str], found: dict[str, object]) -> None:
    assert clinical(row) == found
