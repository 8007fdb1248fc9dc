"""Olive's search over ONNX Runtime's quantizers: `python olive_search.py FOLDER OUT.onnx`, in the environment `olive`.

Static and dynamic quantization behind its transformer optimizer where there is attention; the least time within the
score's limit.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from asked import asked, told


def main(folder: Path, out: Path) -> None:
    """Writes the file that it ends with."""
    ask = asked(folder)
    os.environ["PARING_ASKED"] = str(folder)
    import olive

    script = str(Path(__file__).with_name("olive_metrics.py"))
    rows = {
        "name": "rows",
        "type": "DataContainer",
        "user_script": script,
        "load_dataset_config": {"type": "paring_rows"},
        "pre_process_data_config": {"type": "skip_pre_process"},
        "dataloader_config": {"type": "paring_batches"},
    }

    def metric(name: str, priority: int, goal: dict[str, object] | None, *, higher: bool) -> dict[str, object]:
        sub = {"name": name, "priority": priority, "higher_is_better": higher} | ({"goal": goal} if goal else {})
        return {
            "name": name,
            "type": "custom",
            "sub_types": [sub],
            "user_config": {"user_script": script, "evaluate_func": f"paring_{name}"},
        }

    passes: dict[str, object] = {"quantize": {"type": "OnnxQuantization", "data_config": "rows"}}
    if ask.is_transformer:
        passes = {"optimize": {"type": "OrtTransformersOptimization", "model_type": "bert"}} | passes
    with TemporaryDirectory() as work:
        config = {
            "input_model": {"type": "OnnxModel", "model_path": str(folder / "model.onnx")},
            "data_configs": [rows],
            "evaluators": {
                "ours": {
                    "metrics": [
                        metric("score", 2, {"type": "max-degradation", "value": ask.max_drop}, higher=True),
                        metric("ms", 1, None, higher=False),
                    ]
                }
            },
            "evaluator": "ours",
            "passes": passes,
            "search_strategy": {
                "execution_order": "joint", "sampler": "tpe", "max_iter": 100, "max_time": int(ask.seconds * 0.9),
                "sampler_config": {"max_samples": 100, "seed": 0},
            },
            "cache_dir": f"{work}/cache",
            "output_dir": f"{work}/out",
            "log_severity_level": 2,
        }  # fmt: skip
        found = olive.run(config)
        best = found.get_best_candidate() if found.has_output_model() else None
        if best is None:
            raise SystemExit("its search found no file within the limit")
        shutil.copy(best.model_path, out)
        told(version=version("olive-ai"), score=str(best.metrics_value)[:300])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
