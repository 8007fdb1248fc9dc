"""`paring teach`: the teacher's answers, asked for once."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paring.cli.options import AsJson
from paring.errors import SettingError

if TYPE_CHECKING:
    from paring.core.task import Task
    from paring.run import Told


def teach(
    task: Annotated[str, typer.Argument(metavar="TASK", help="file.py:name or module:name of a paring.Task.")],
    out: Annotated[Path, typer.Option("--out", help="The folder of answers; begun ones are finished.")],
    layer: Annotated[
        list[str] | None, typer.Option("--layer", help="Keep this layer's output too; repeatable.")
    ] = None,
    shard_rows: Annotated[int, typer.Option("--shard-rows", min=1, help="Rows a file.")] = 8192,
    part: Annotated[
        str, typer.Option("--part", help="i/n: only every nth shard, so that n machines share it.")
    ] = "0/1",
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="ADDRESS", help="Ask on a Ray cluster; `local` starts one here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Keeps the model's answers on its training data; `paring compress --answers` then trains without running it."""
    from paring.cli.load import load_task
    from paring.cli.render import console, follow
    from paring.teach.cache import open_head

    share = _part(part)
    follow(_steps(load_task(task), out, layer or [], shard_rows, share, ray), quiet=as_json)
    head = open_head(out)
    files = list(out.glob("shard-*.safetensors"))
    size = sum(path.stat().st_size for path in files)
    if as_json:
        told = {"folder": str(out), "rows": head.num_rows, "shards": len(files), "of": head.num_shards, "bytes": size}
        console.print_json(json.dumps(told | {"layers": list(head.layers), "teacher": head.teacher}))
        return
    console.print(f"{out}: {head.num_rows:,} rows, {len(files)} of {head.num_shards} shards, {size:,} bytes.")


def _steps(
    task: Task, out: Path, layers: list[str], shard_rows: int, part: tuple[int, int], ray: str | None
) -> Generator[Told, None, None]:
    from paring.run import Told
    from paring.teach.on_ray import RayTeachers
    from paring.teach.teach import teach as steps
    from paring.teach.teacher import here

    ask = here if ray is None else RayTeachers(ray)
    for progress in steps(task, out, layers, shard_rows=shard_rows, part=part, ask=ask):
        yield Told("teacher", progress)


def _part(text: str) -> tuple[int, int]:
    first, _, count = text.partition("/")
    if not (first.isdigit() and count.isdigit() and int(first) < int(count)):
        raise SettingError(f"--part: got {text!r}; write i/n with i from 0 to n - 1, such as 0/4.")
    return int(first), int(count)
