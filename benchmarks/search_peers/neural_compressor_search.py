"""neural-compressor's autotune: `python neural_compressor_search.py FOLDER OUT.onnx`, in its own environment.

Static quantization in its settings, one after the other, until the score holds.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import torch
from asked import asked, told
from neural_compressor.torch.quantization import StaticQuantConfig, TuningConfig, autotune
from pt2e import written
from torchao.quantization.pt2e.constant_fold import constant_fold
from torchao.quantization.pt2e.quantize_pt2e import _quant_node_constraint


def main(folder: Path, out: Path) -> None:
    """Writes the file that it ends with."""
    ask = asked(folder)
    names = list(ask.calibration[0])
    module = torch.export.load(folder / "model.pt2").module(check_guards=False)
    module._exported, module.dynamic_shapes = True, None  # what its own export leaves
    examples = [tuple(torch.from_numpy(one[name]) for name in names) for one in ask.calibration]
    evaluations = 0

    def calibrate(model: torch.nn.Module) -> None:
        with torch.no_grad():
            for example in examples:
                model(*example)

    def score(model: torch.nn.Module) -> float:
        nonlocal evaluations
        evaluations += 1
        with torch.no_grad():
            return ask.score(lambda inputs: model(*(torch.from_numpy(inputs[name]) for name in names)).numpy())

    base = score(module)
    found = autotune(
        module,
        TuningConfig(
            config_set=[StaticQuantConfig(act_algo=["minmax", "kl"], act_sym=[False, True])],
            tolerable_loss=ask.max_drop / base,
        ),
        eval_fn=score,
        run_fn=calibrate,
        example_inputs=examples[0],
    )
    if found is None:
        raise SystemExit("none of its settings holds the score")
    constant_fold(found, _quant_node_constraint)  # as in quantize_peers: else its weights stay floats in the file
    written(found, examples[0], names, out)
    told(version=version("neural-compressor-pt"), evaluations=evaluations)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
