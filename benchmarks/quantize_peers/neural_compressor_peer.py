"""neural-compressor on PyTorch: `python neural_compressor_peer.py FOLDER OUT static`, in its own environment.

Static quantization of the traced net over the calibration batches, exported to ONNX.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import torch
from given import batches, told
from neural_compressor.torch.quantization import StaticQuantConfig, convert, prepare
from pt2e import written
from torchao.quantization.pt2e.constant_fold import constant_fold
from torchao.quantization.pt2e.quantize_pt2e import _quant_node_constraint


def main(folder: Path, out: Path, *_settings: str) -> None:
    """Writes the quantized file."""
    data = batches(folder / "calibration.npz")
    names = list(data[0])
    module = torch.export.load(folder / "model.pt2").module(check_guards=False)
    module._exported, module.dynamic_shapes = True, None  # what its own export leaves
    examples = [tuple(torch.from_numpy(one[name]) for name in names) for one in data]
    prepared = prepare(module, StaticQuantConfig(), example_inputs=examples[0])
    with torch.no_grad():
        for example in examples:
            prepared(*example)
    converted = convert(prepared)
    # It leaves float weights behind quantizers, which engines then run as floats; folded, they are integers.
    constant_fold(converted, _quant_node_constraint)
    written(converted, examples[0], names, out)
    told(version=version("neural-compressor-pt"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
