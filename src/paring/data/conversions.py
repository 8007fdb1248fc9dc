"""Three public conversion logs: web-shop sessions, bank calls, and an e-mail experiment."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from pathlib import Path

from paring.data.files import find_file
from paring.data.tables import Table, read_table
from paring.errors import CorruptFileError

SHOPPERS = (
    "online-shoppers/online_shoppers_intention.csv",
    "44b29f6ac84d6491bcf8d78e3cd544c10df910fe518293454174876f25956c4f",
)
BANK = ("bank-marketing/bank-additional.zip", "e689f38cc6bd689f64f031e7a1fbe0849aabb7ad57544fc75068e30129bbd514")
HILLSTROM = ("hillstrom/hillstrom.csv.gz", "a87962aa5be280c81ca179de5a41f6028b14833fa10fd15d706d5fbf786fdffe")


def online_shoppers(data: str | Path | None = None) -> Table:
    """12,330 sessions, label `Revenue`, 15.5 % (UCI 468). Raises TaskError, CorruptFileError."""
    path = find_file(*SHOPPERS, data)
    kinds = ("Administrative", "Informational", "ProductRelated")
    return read_table(
        path.read_text(encoding="utf-8"),
        str(path),
        categories=("Month", "OperatingSystems", "Browser", "Region", "TrafficType", "VisitorType", "Weekend"),
        numbers=(
            *kinds,
            *(f"{kind}_Duration" for kind in kinds),
            "BounceRates",
            "ExitRates",
            "PageValues",
            "SpecialDay",
        ),
        labels={"Revenue": "TRUE"},
        delimiter=",",
    )


def bank_marketing(data: str | Path | None = None) -> Table:
    """41,188 calls, label `y`, 11.3 % (UCI 222, Moro 2014), without `duration`, which gives the label away.

    Raises: TaskError, CorruptFileError.
    """
    path = find_file(*BANK, data)
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read("bank-additional/bank-additional-full.csv").decode()
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path}: holds no bank-additional-full.csv ({error}). Fetch it again.") from error
    return read_table(
        text,
        str(path),
        categories=(
            *("job", "marital", "education", "default", "housing", "loan"),
            *("contact", "month", "day_of_week", "poutcome"),
        ),
        numbers=(
            *("age", "campaign", "pdays", "previous"),
            *("emp.var.rate", "cons.price.idx", "cons.conf.idx", "euribor3m", "nr.employed"),
        ),
        labels={"y": "yes"},
        delimiter=";",
    )


def hillstrom(data: str | Path | None = None) -> Table:
    """64,000 customers in three arms (`segment`), labels `visit` 14.7 %, `conversion` 0.90 % and `spend`.

    Raises: TaskError, CorruptFileError.
    """
    path = find_file(*HILLSTROM, data)
    try:
        text = gzip.decompress(path.read_bytes()).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path}: not a gzip file of text ({error}). Fetch it again.") from error
    return read_table(
        text,
        str(path),
        categories=("history_segment", "mens", "womens", "zip_code", "newbie", "channel", "segment"),
        numbers=("recency", "history"),
        labels={"visit": "", "conversion": "", "spend": ""},
        delimiter=",",
    )
