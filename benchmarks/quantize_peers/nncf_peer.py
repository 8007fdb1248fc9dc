"""NNCF's post-training quantization: `python nncf_peer.py FOLDER OUT onnx|openvino SETTING...`.

SETTING is any of mixed, transformer, accurate. Runs in the environment `nncf`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nncf
from given import batches, told


def main(folder: Path, out: Path, backend: str, *settings: str) -> None:
    """Writes the quantized file to `out`, .onnx or .xml."""
    data = batches(folder / "calibration.npz")
    if backend == "onnx":
        import onnx

        model = onnx.load(folder / "model.onnx")
    else:
        import openvino

        model = openvino.Core().read_model(str(folder / "model.onnx"))
    quantized = nncf.quantize(
        model,
        nncf.Dataset(data),
        preset=nncf.QuantizationPreset.MIXED if "mixed" in settings else nncf.QuantizationPreset.PERFORMANCE,
        model_type=nncf.ModelType.TRANSFORMER if "transformer" in settings else None,
        fast_bias_correction="accurate" not in settings,
        subset_size=len(data),
    )
    if backend == "onnx":
        onnx.save(quantized, out)
    else:
        openvino.save_model(quantized, out, compress_to_fp16=False)
    told(version=nncf.__version__, batches=len(data))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
