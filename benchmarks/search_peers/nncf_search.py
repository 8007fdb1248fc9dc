"""NNCF's quantization with accuracy control: `python nncf_search.py FOLDER OUT.xml`, in the environment `nncf`.

Layers go back to floats, the most harmful first, until the score holds.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nncf
import openvino
from asked import asked, told


def main(folder: Path, out: Path) -> None:
    """Writes the file that it ends with."""
    ask = asked(folder)
    evaluations = 0

    def score(compiled: openvino.CompiledModel, _data: object) -> tuple[float, None]:
        nonlocal evaluations
        evaluations += 1
        return ask.score(lambda inputs: next(iter(compiled(inputs).values()))), None

    found = nncf.quantize_with_accuracy_control(
        openvino.Core().read_model(str(folder / "model.onnx")),
        calibration_dataset=nncf.Dataset(ask.calibration),
        validation_dataset=nncf.Dataset([0]),
        validation_fn=score,
        max_drop=ask.max_drop,
        drop_type=nncf.DropType.ABSOLUTE,
        subset_size=len(ask.calibration),
        model_type=nncf.ModelType.TRANSFORMER if ask.is_transformer else None,
    )
    openvino.save_model(found, out, compress_to_fp16=False)
    told(version=nncf.__version__, evaluations=evaluations)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
