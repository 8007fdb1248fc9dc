"""A CSV of the user's own, read by a small schema file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from paring.data.tables import Table, read_table
from paring.errors import SettingError, TaskError

KEYS = ("label", "positive", "categories", "numbers", "delimiter")
EXAMPLE = 'label: Revenue, positive: "TRUE", categories: [Month], numbers: [PageValues]'


def read_csv(path: str | Path, schema: str | Path) -> tuple[Table, str]:
    """The table in `path` and the name of its label, as the YAML mapping in `schema` says.

    Keys: `label`; `positive`, the text that counts as 1 (left out, the label is a number itself); `categories` and
    `numbers`, lists of columns; `delimiter`, "," unless given.
    Raises: TaskError for a file that is not there, SettingError for a schema that cannot be read, CorruptFileError for
    a column that is missing or a cell that is no number.
    """
    said = _schema(Path(schema))
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path}: cannot be read as text ({error}). Give --csv a CSV file in UTF-8.") from error
    label = said["label"]
    table = read_table(
        text,
        str(path),
        categories=said["categories"],
        numbers=said["numbers"],
        labels={label: said["positive"]},
        delimiter=said["delimiter"],
    )
    return table, label


def _schema(path: Path) -> dict[str, Any]:
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingError(f"{path}: cannot be read ({' '.join(str(error).split())}). Write: {EXAMPLE}") from error
    if not isinstance(said, dict) or not isinstance(said.get("label"), str):
        raise SettingError(f"{path}: it names no label. Write: {EXAMPLE}")
    if unknown := sorted(set(said) - set(KEYS)):
        raise SettingError(f"{path}: unknown keys {unknown}; allowed are {', '.join(KEYS)}.")
    for key in ("categories", "numbers"):
        columns = said.setdefault(key, [])
        if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
            raise SettingError(f"{path}: {key} is {columns!r}; it must be a list of column names.")
    if not said["categories"] or not said["numbers"]:
        raise SettingError(f"{path}: the net takes at least one category and one number. Write: {EXAMPLE}")
    if said["label"] in (*said["categories"], *said["numbers"]):
        raise SettingError(f"{path}: the label {said['label']} stands among the inputs. Take it out there.")
    positive, delimiter = said.get("positive", ""), said.get("delimiter", ",")
    if not isinstance(positive, str):
        raise SettingError(f'{path}: positive is {positive!r}; put the text as it stands in the file in "quotes".')
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        raise SettingError(f"{path}: delimiter is {delimiter!r}; it must be one character.")
    return said | {"positive": positive, "delimiter": delimiter}
