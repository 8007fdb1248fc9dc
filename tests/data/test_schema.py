"""A CSV of one's own, and schemas that are not what they should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from paring.data.schema import read_csv
from paring.errors import CorruptFileError, SettingError, TaskError

SCHEMA = 'label: bought\npositive: "yes"\ncategories: [colour]\nnumbers: [size]\ndelimiter: ";"\n'


@pytest.fixture(name="csv")
def _csv(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text("colour;size;bought\nred;1;yes\nblue;2.5;no\n")
    return path


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "schema.yaml"
    path.write_text(text)
    return path


def test_columns_are_what_the_schema_says(csv: Path, tmp_path: Path) -> None:
    table, label = read_csv(csv, written(tmp_path, SCHEMA))
    assert label == "bought" and table.targets["bought"].tolist() == [1, 0]
    assert table.category_names == ("colour",) and table.numbers.tolist() == [[1.0], [2.5]]


def test_a_label_without_positive_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("colour,size,sold\nred,1,3\nblue,2,0\n")
    table, _ = read_csv(path, written(tmp_path, "label: sold\ncategories: [colour]\nnumbers: [size]\n"))
    assert table.targets["sold"].tolist() == [3, 0]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("- a list\n", "names no label"),
        ("label: [a\n", "cannot be read"),
        (SCHEMA + "colour: 1\n", "unknown keys"),
        (SCHEMA.replace("[colour]", "colour"), "must be a list"),
        (SCHEMA.replace("[size]", "[]"), "at least one"),
        (SCHEMA.replace("[size]", "[bought]"), "among the inputs"),
        (SCHEMA.replace('"yes"', "yes"), 'in "quotes"'),
        (SCHEMA.replace('";"', '"ab"'), "one character"),
    ],
)
def test_a_schema_that_does_not_fit_says_why(csv: Path, tmp_path: Path, schema: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        read_csv(csv, written(tmp_path, schema))


def test_files_that_are_missing_or_lack_a_column_are_named(csv: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"nowhere.yaml"):
        read_csv(csv, tmp_path / "nowhere.yaml")
    with pytest.raises(TaskError, match=r"nowhere.csv"):
        read_csv(tmp_path / "nowhere.csv", written(tmp_path, SCHEMA))
    with pytest.raises(CorruptFileError, match="colour2"):
        read_csv(csv, written(tmp_path, SCHEMA.replace("[colour]", "[colour2]")))
