"""Imports go one way, heavy libraries stay out of the front door, files stay short."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import paring

SOURCE = Path(__file__).parents[1] / "src" / "paring"

# Low to high: a file may import from its own layer and from those below.
LAYERS = [
    {"errors"},
    {"core", "numerics", "data"},
    {"graph", "engines"},
    {"train", "measure", "teach"},
    {"clock", "artifacts", "container"},
    {"prune", "factorize", "quantize", "share", "distill", "student", "finetune"},
    {"allocate"},
    {"catalog"},
    {"settings"},
    {"recipe_io"},
    {"candidates"},
    {"store"},
    {"judge", "choice", "testing"},
    {"report"},
    {"last_round", "ship"},
    {"run"},
    {"search"},
    {"studies", "serve", "gate", "traffic"},
    {"deploy"},
    {"cli"},
    {"__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
METHODS = {"prune", "factorize", "quantize", "share", "distill", "student"}
# Values and nets that several methods of one family share; no method of its own.
SHARED_WITHIN = {
    *(
        f"paring.quantize.{shared}"
        for shared in (
            "calibrate",
            "clock",
            "granularity",
            "integers",
            "observers",
            "plan",
            "rounding",
            "sensitivity",
            "training",
            "weights",
        )
    ),
    "paring.share.closed_form",
    *(f"paring.prune.{shared}" for shared in ("by_clock", "scores", "settings", "structure")),
    *(f"paring.distill.{shared}" for shared in ("answers", "pairs")),
    *(f"paring.factorize.{shared}" for shared in ("rank", "by_clock", "view", "options", "calibrated", "fisher")),
}


def sources() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "paring":
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "paring"}
    return found


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    module = module_of(path)
    room = room_of(module)
    if not room:
        return
    assert room in LEVEL, f"{room} has no layer: give it one here"
    for imported in imports_of(path):
        other = room_of(imported)
        if not other:
            continue
        assert LEVEL[other] <= LEVEL[room], f"{module} imports {imported}, which stands above it"
        if room in METHODS and other in METHODS and imported != module:
            assert imported in SHARED_WITHIN, f"method {module} imports method {imported}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_file_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_median_file_is_under_150_lines() -> None:
    lengths = sorted(len(path.read_text(encoding="utf-8").splitlines()) for path in sources())
    assert lengths[len(lengths) // 2] < 150


def in_fresh_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_engines_import_without_torch() -> None:
    assert in_fresh_python("import sys, paring.engines; print('torch' in sys.modules)") == "False"


def test_containers_unpack_and_run_without_torch() -> None:
    code = (
        "import sys, paring.container.file, paring.container.load; print('torch' in sys.modules, 'onnx' in sys.modules)"
    )
    assert in_fresh_python(code) == "False False"


def test_serving_imports_no_torch() -> None:
    rooms = "paring.cli.lean, paring.serve.http, paring.traffic.figure"
    code = f"import sys, {rooms}; print([m for m in ('torch', 'scipy') if m in sys.modules])"
    assert in_fresh_python(code) == "[]"


def test_import_paring_loads_nothing_heavy() -> None:
    heavy = "[m for m in ('torch', 'numpy', 'onnx', 'openvino', 'torchmetrics', 'sklearn') if m in sys.modules]"
    assert in_fresh_python(f"import sys, paring; print({heavy})") == "[]"


def test_public_names_are_all_there() -> None:
    code = "import paring; print(sorted(paring.__all__) == sorted(n for n in paring.__all__ if getattr(paring, n)))"
    assert in_fresh_python(code) == "True"


def test_no_public_verb_shares_its_name_with_a_module() -> None:
    modules = {path.stem for path in SOURCE.iterdir()}
    assert not modules & set(paring.__all__), "the module would hide the verb once it is imported"


def test_type_checkers_see_the_same_public_names() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(paring.__all__)
