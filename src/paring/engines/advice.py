"""What a processor lacks that changes numbers or speed, and what to do about it."""

from __future__ import annotations


def advice(flags: frozenset[str], *, vnni: bool, cores: int, usable: int) -> tuple[str, ...]:
    """One line each, most important first; empty where nothing is amiss.

    Args:
        flags: as `cpu_flags` gives them.
        vnni: as `has_vnni` gives it.
    """
    x86 = "fma" in flags or "avx2" in flags
    lines = []
    if not vnni:
        lines.append(
            "No VNNI: u8 x s8 products are added in 16 bits and may saturate, in ONNX Runtime and in OpenVINO alike. "
            "Keep weights within -64..64 (quantize.static weight_range: half, which auto chooses here); the parity "
            "check refuses a file that saturates. Expect int8 to gain about 2 times over fp32, not 4."
        )
    if not flags & {"avx512_bf16", "amx_bf16", "bf16"}:
        lines.append(
            "No bf16 instructions: OpenVINO computes in fp32 here, so a bf16 file saves bytes and no time; int8 has to "
            "beat fp32 only."
        )
    if x86 and "avx512f" not in flags:
        lines.append("No AVX-512: vectors hold 8 floats; channel counts in multiples of 8 or 16 suit the kernels.")
    if "amx_int8" in flags:
        lines.append(
            "AMX: bf16 and int8 products run on tiles of 16 rows; batches and channels in multiples of 16 pay."
        )
    if usable < cores:
        lines.append(f"This process may use {usable} of {cores} cores; timings hold for those.")
    return tuple(lines)
