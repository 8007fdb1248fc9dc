"""PyTorch 2 export quantization with the x86 quantizer, as torchao carries it, to ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch


def exported(module: torch.nn.Module, data: list[dict[str, np.ndarray]], names: list[str], out: Path) -> None:
    """Calibrates over `data`, converts, and writes an ONNX file with a free batch."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(module, quantizer)
    batches = [tuple(torch.from_numpy(one[name]) for name in names) for one in data]
    with torch.no_grad():
        for batch in batches:
            prepared(*batch)
    written(convert_pt2e(prepared), batches[0], names, out)


def written(module: torch.nn.Module, example: tuple[torch.Tensor, ...], names: list[str], out: Path) -> None:
    """The file."""
    dims = tuple({0: torch.export.Dim.AUTO, **({1: torch.export.Dim.AUTO} if len(names) > 2 else {})} for _ in names)
    with torch.no_grad():
        program = torch.export.export(module, example, dynamic_shapes=dims, strict=False)
    converted = torch.onnx.export(
        program, dynamo=True, verbose=False, input_names=names, output_names=["output"], external_data=False
    )
    converted.save(out)
