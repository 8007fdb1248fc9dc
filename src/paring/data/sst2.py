"""SST-2 (Socher et al. 2013): film-review sentences, positive (1) or negative (0)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from paring.data.files import find_file
from paring.errors import CorruptFileError

SHA256 = {
    "train": "920e317b2c52e12cd22db1da2c6708312bd7dc4f3712b9bbf1b50ee6c2c792ba",
    "dev": "92353770071a2a889f75d000a38a9e541ea8f0a5499e50f040b17917a5cbf66f",
    "test": "54a9c12c77e402fc14d6a66a506f24d999f596b0176eb777c972cccc2f9cc4b0",
}
Labelled = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Sentences:
    """(sentence, label) pairs. `train` holds no sentence of `dev` or `test`; `test` is GLUE's dev set, 872."""

    train: Labelled
    dev: Labelled
    test: Labelled


def sst2(data: str | Path | None = None) -> Sentences:
    """The three files, train cleared of the sentences that stand in the other two (it overlaps dev).

    Raises: TaskError if a file is nowhere, CorruptFileError if it is not what it should be.
    """
    rows = {split: _rows(find_file(f"sst2/{split}.tsv", digest, data)) for split, digest in SHA256.items()}
    held = {sentence for split in ("dev", "test") for sentence, _ in rows[split]}
    train = tuple((sentence, label) for sentence, label in rows["train"] if sentence not in held)
    return Sentences(train, rows["dev"], rows["test"])


def _rows(path: Path) -> Labelled:
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    if header.split("\t") != ["sentence", "label"]:
        raise CorruptFileError(f"{path}: the header is {header!r}, expected sentence and label. Fetch the file again.")
    pairs = (line.rsplit("\t", 1) for line in lines)
    return tuple((sentence.strip(), int(label)) for sentence, label in pairs)
