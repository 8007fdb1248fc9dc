"""`paring pack`, `unpack` and `size`: the entropy-coded file and what it takes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from paring.cli.options import AsJson
from paring.errors import SettingError

if TYPE_CHECKING:
    from paring.container.size import FileSize

Source = Annotated[Path, typer.Argument(metavar="PATH")]
Output = Annotated[Path | None, typer.Option("--out", help="Where to write; else beside the file.")]


def pack(path: Source, out: Output = None, as_json: AsJson = False) -> None:
    """Entropy-codes an ONNX file into a .paring container."""
    from paring.cli.render import console
    from paring.container.file import pack as write

    target = _target(path, out, ".paring")
    packed = write(_model(path), target)
    if as_json:
        console.print_json(json.dumps({"path": str(target)} | asdict(packed)))
        return
    ratio = packed.file_bytes / packed.coded_bytes
    console.print(f"{target}: {packed.coded_bytes:,} bytes, {ratio:.2f} times smaller than {packed.file_bytes:,}")


def unpack(path: Source, out: Output = None, as_json: AsJson = False) -> None:
    """Writes the ONNX file that a .paring container holds, bit for bit."""
    from paring.cli.render import console
    from paring.container.file import unpack as write

    target = _target(path, out, ".onnx")
    written = write(path, target)
    if as_json:
        console.print_json(json.dumps({"path": str(target), "file_bytes": written}))
        return
    console.print(f"{target}: {written:,} bytes")


def size(path: Source, as_json: AsJson = False) -> None:
    """What an ONNX file or a container takes, tensor by tensor: stored, coded, by gzip and zstd, and in theory."""
    from paring.cli.render import console
    from paring.container.size import file_size

    found = file_size(_model(path))
    if as_json:
        totals = {"fp32_bytes": found.fp32_bytes}
        console.print_json(json.dumps({"path": str(path)} | totals | asdict(found)))
        return
    console.print(_table(path, found))
    console.print(
        f"whole files: ONNX {found.onnx_bytes:,} bytes, container {found.coded_bytes:,} bytes (graph and head "
        f"{found.head_bytes:,}); {found.fp32_bytes / found.coded_bytes:.1f} times smaller than the numbers as fp32"
    )


def _target(path: Path, out: Path | None, suffix: str) -> Path:
    target = path.with_suffix(suffix) if out is None and path.is_file() else out
    if target is None:
        target = path / f"model{suffix}"
    if target.resolve() == path.resolve():
        raise SettingError(f"--out {target}: that is the file itself; give another path.")
    return target


def _model(path: Path) -> Path:
    return path / "model.onnx" if path.is_dir() else path


def _table(path: Path, found: FileSize) -> Table:
    table = Table(title=str(path), title_justify="left", header_style="bold")
    table.add_column("tensor", overflow="fold")
    table.add_column("shape", no_wrap=True)
    for heading in ("fp32", "stored", "coded", "entropy", "model", "floor", "gzip", "zstd -19"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("how", overflow="fold")
    for tensor in found.tensors:
        floor = "" if tensor.floor_bits is None else f"{tensor.floor_bits / 8:,.0f}"
        table.add_row(
            tensor.name,
            "x".join(map(str, tensor.dims)),
            f"{tensor.fp32_bytes:,}",
            f"{tensor.stored_bytes:,}",
            f"{tensor.coded_bytes:,}",
            f"{tensor.entropy_bits / 8:,.0f}",
            f"{tensor.model_bits / 8:,.0f}",
            floor,
            f"{tensor.gzip_bytes:,}",
            f"{tensor.zstd_bytes:,}",
            tensor.how,
        )
    table.caption = "bytes; entropy is of zero order, model is the code length under the container's own model"
    return table
