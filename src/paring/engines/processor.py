"""What this machine's processor can do. Read once, needs no engine."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

from paring.core.target import Precision

# Instruction sets that decide which kernels an engine picks, under the names of /proc/cpuinfo.
FLAGS_THAT_MATTER = (
    "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16",
    "amx_fp16", "asimd", "asimddp", "i8mm", "bf16", "fphp", "sve",
)  # fmt: skip

Machine = dict[str, Any]


@cache
def cpu_info(source: str = "/proc/cpuinfo") -> tuple[str, frozenset[str]]:
    """(model name, every flag of the first processor); no flags where the system does not list them."""
    try:
        text = Path(source).read_text()
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    fields = {
        key.strip(): value.strip()
        for key, colon, value in (line.partition(":") for line in _first_block(text))
        if colon
    }
    flags = fields.get("flags") or fields.get("Features") or ""
    return fields.get("model name") or platform.machine(), frozenset(flags.split())


def cpu_flags() -> frozenset[str]:
    """Instruction sets of this processor, named as in /proc/cpuinfo."""
    return cpu_info()[1]


def has_vnni() -> bool:
    """Whether integer products accumulate in 32 bits.

    Without VNNI (or AMX), x86 kernels add two u8 x s8 products in 16 bits, which saturates for large weights:
    both engines then answer something else than the file says. Other architectures have no such step.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    return bool(cpu_flags() & {"avx512_vnni", "avx_vnni", "amx_int8"})


def quick_in_integers() -> bool:
    """Whether there are instructions that multiply four bytes and add them up at once."""
    return bool(cpu_flags() & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})


def cpu_precisions() -> tuple[Precision, ...]:
    """Compute types that the processor has instructions for, besides integers: fp32 first."""
    flags = cpu_flags()
    found: list[Precision] = ["fp32"]
    if flags & {"avx512_bf16", "amx_bf16", "bf16"}:
        found.append("bf16")
    if flags & {"avx512_fp16", "amx_fp16", "fphp"}:
        found.append("fp16")
    return tuple(found)


def usable_cores() -> tuple[int, ...]:
    """Numbers of the cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def machine() -> Machine:
    """What a measurement depends on, for manifests: `cpu`, `flags`, `cores`, `usable_cores`, `memory_bytes`, `os`."""
    model, flags = cpu_info()
    return {
        "cpu": model,
        "flags": [flag for flag in FLAGS_THAT_MATTER if flag in flags],
        "cores": os.cpu_count() or 1,
        "usable_cores": len(usable_cores()),
        "memory_bytes": _memory_bytes(),
        "os": platform.platform(),
        "python": platform.python_version(),
    }


def _first_block(text: str) -> list[str]:
    return text.split("\n\n", 1)[0].splitlines()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
