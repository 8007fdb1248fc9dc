"""ONNX Runtime's own quantizer: `python ort_peer.py FOLDER OUT dynamic|minmax|percentile|entropy [s8] [all]`.

Weights int8 a channel; activations uint8, or int8 and symmetric with `s8`. Runs wherever onnxruntime is installed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import onnxruntime
from given import batches, told
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}


class Reader(CalibrationDataReader):
    """Batches in their order."""

    def __init__(self, folder: Path) -> None:
        self.data = iter(batches(folder / "calibration.npz"))

    def get_next(self):
        """The next batch, None after the last."""
        return next(self.data, None)


def main(folder: Path, out: Path, method: str, *settings: str) -> None:
    """Writes the quantized file to `out`."""
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(folder / "model.onnx", prepared, skip_symbolic_shape=True)
        if method == "dynamic":
            quantize_dynamic(prepared, out, per_channel=True, weight_type=QuantType.QInt8)
        else:
            signed = "s8" in settings
            quantize_static(
                prepared,
                out,
                Reader(folder),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=METHODS[method],
                extra_options={"ActivationSymmetric": signed},
            )
    told(version=onnxruntime.__version__)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
