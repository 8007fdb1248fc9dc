from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_files import floats, save

import paring.engines as engines
from paring.core.target import Target
from paring.engines import installed_engines, open_session, precisions
from paring.errors import CorruptFileError, EngineError, UnknownNameError

BOTH = pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
X = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
OFFSET = np.array([10, 20, 30])
Y = np.array([[18, 22, 26], [27, 22, 17]], np.float32)  # by hand: column j is 2 + 6 - 6 j (or 5 + 12 - 15 j) + offset


def test_importing_the_engines_imports_neither_torch_nor_an_engine() -> None:
    code = "import sys, paring.engines; print([m for m in ('torch', 'onnxruntime', 'openvino') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_opening_and_running_a_file_needs_no_torch(affine_file: Path) -> None:
    code = (
        "import sys, numpy as np; from paring.engines import open_session; from paring.core.target import Target\n"
        "for engine in ('onnxruntime', 'openvino'):\n"
        f"    s = open_session({str(affine_file)!r}, Target(engine=engine))\n"
        "    s.run({'x': np.ones((2, 3), np.float32), 'offset': np.zeros(3, np.int64)})\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


@BOTH
def test_run_gives_every_output_in_the_files_order(engine: str, affine_file: Path) -> None:
    session = open_session(affine_file, Target(engine=engine))
    y, total = session.run({"offset": OFFSET, "x": X})
    assert session.input_names == ("x", "offset")
    np.testing.assert_allclose(y, Y)
    assert float(total) == 21.0


@BOTH
def test_outputs_belong_to_the_caller(engine: str, affine_file: Path) -> None:
    session = open_session(affine_file, Target(engine=engine))
    first = session.run({"x": X, "offset": OFFSET})[0]
    session.run({"x": 0 * X, "offset": OFFSET})
    np.testing.assert_allclose(first, Y)


@BOTH
def test_numbers_are_converted_within_their_kind_only(engine: str, affine_file: Path) -> None:
    session = open_session(affine_file, Target(engine=engine))
    y = session.run({"x": X.astype(np.float64), "offset": OFFSET.astype(np.int32)})[0]
    np.testing.assert_allclose(y, Y)
    with pytest.raises(EngineError, match=r"input 'offset' is float64, and the file takes int64"):
        session.run({"x": X, "offset": OFFSET.astype(np.float64)})


@BOTH
def test_prepared_calls_repeat_and_keep_their_arrays_alive(engine: str, affine_file: Path) -> None:
    session = open_session(affine_file, Target(engine=engine))
    call = session.prepare({"x": X.copy(), "offset": OFFSET.copy()})
    frozen = X.copy()
    frozen.flags.writeable = False
    calls = [call, session.prepare({"x": frozen, "offset": OFFSET})]
    for _ in range(3):
        for run in calls:
            run()
    np.testing.assert_allclose(session.run({"x": X, "offset": OFFSET})[0], Y)
    given = X.copy()
    held = weakref.ref(given)
    call = session.prepare({"x": given, "offset": OFFSET})
    del given
    gc.collect()
    assert held() is not None  # freed, its memory would hold anything, denormal numbers for instance
    del call
    gc.collect()
    assert held() is None


@BOTH
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": X}, r"affine.onnx: input 'offset' is missing \(given: x\).*x \(\?, 3\) float32; offset \(3\) int64"),
        ({"x": X, "offset": OFFSET, "z": X}, "it has no input 'z'"),
        ({"x": X[:, :2], "offset": OFFSET}, r"input 'x' is \(2, 2\), and the file takes \(\?, 3\)"),
        ({"x": X[0], "offset": OFFSET}, r"input 'x' is \(3\), and the file takes"),
    ],
)
def test_inputs_that_do_not_fit(engine: str, affine_file: Path, inputs: dict[str, np.ndarray], message: str) -> None:
    session = open_session(affine_file, Target(engine=engine))
    for use in (session.run, session.prepare):
        with pytest.raises(EngineError, match=message):
            use(inputs)


@BOTH
def test_a_file_that_is_no_onnx(
    engine: str, affine_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = affine_file.read_bytes()
    for name, content in {
        "text.onnx": b"hello world\n" * 40,
        "empty.onnx": b"",
        "cut.onnx": whole[: len(whole) // 2],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorruptFileError, match=name) as caught:
            open_session(tmp_path / name, Target(engine=engine))
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@BOTH
def test_a_sound_file_with_an_operator_the_engine_does_not_know(engine: str, tmp_path: Path) -> None:
    path = save(
        tmp_path / "odd.onnx", [helper.make_node("Frobnicate", ["x"], ["y"])], [floats("x", 1)], [floats("y", 1)], {}
    )
    with pytest.raises(EngineError, match=r"odd\.onnx: .*Frobnicate"):
        open_session(path, Target(engine=engine))


@BOTH
def test_a_file_that_is_not_there(engine: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"absent\.onnx: there is no such file"):
        open_session(tmp_path / "absent.onnx", Target(engine=engine))


def test_an_engine_that_is_not_installed(affine_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "installed_engines", lambda: ("onnxruntime",))
    with pytest.raises(
        EngineError, match=r"openvino is not installed \(installed: onnxruntime\). Run: pip install openvino"
    ):
        open_session(affine_file, Target(engine="openvino"))


def test_precisions_the_engine_lacks_are_refused_but_not_for_parity(affine_file: Path) -> None:
    with pytest.raises(
        EngineError, match="onnxruntime on this processor computes in fp32, and the target asks for bf16"
    ):
        open_session(affine_file, Target(precision="bf16"))
    session = open_session(affine_file, Target(precision="bf16"), exact=True)
    np.testing.assert_allclose(session.run({"x": X, "offset": OFFSET})[0], Y)


def test_torch_and_gpus_are_refused_by_name(affine_file: Path) -> None:
    with pytest.raises(EngineError, match="torch runs a module, not a file"):
        open_session(affine_file, Target(engine="torch"))
    for engine in ("onnxruntime", "openvino"):
        with pytest.raises(EngineError, match="not measured"):
            open_session(affine_file, Target(engine=engine, device="cuda"))


def test_a_gpu_that_does_not_start_is_no_gpu(affine_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime as ort

    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)
    real = ort.InferenceSession
    monkeypatch.setattr(
        ort, "InferenceSession", lambda path, options, providers: real(path, options)
    )  # as it falls back
    with pytest.raises(EngineError, match="not measured: CUDAExecutionProvider does not start"):
        open_session(affine_file, Target(device="cuda"))


def test_exact_onnxruntime_does_not_saturate(
    saturating_file: tuple[Path, Callable[[np.ndarray], np.ndarray]],
) -> None:
    path, answer = saturating_file
    x = (np.arange(3 * 64, dtype=np.float32).reshape(3, 64) + 60) / 255  # on the quantizer's grid
    y = open_session(path, Target(), exact=True).run({"x": x})[0]
    np.testing.assert_allclose(y, answer(x), rtol=1e-4)


def test_exact_onnxruntime_reads_scales_of_channels_without_zero_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    q, scale = np.array([[1, -2, 3], [4, 5, -128]], np.int8), np.array([0.5, 0.25, 2.0], np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=1),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n]) for name, n in (("x", 2), ("y", 3))]
    held = [numpy_helper.from_array(q, "q"), numpy_helper.from_array(scale, "s")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save_model(model, tmp_path / "m.onnx")
    monkeypatch.setattr("paring.engines.onnxruntime.has_vnni", lambda: False)
    x = np.array([[1.0, -1.0]], np.float32)
    for exact in (False, True):
        answer = open_session(tmp_path / "m.onnx", Target(), exact=exact).run({"x": x})[0]
        np.testing.assert_allclose(answer, x @ (q * scale))


def test_static_shapes_bind_in_openvino(affine_file: Path) -> None:
    shapes = {"x": (2, 3), "offset": (3,)}
    session = open_session(affine_file, Target(engine="openvino"), static=shapes)
    np.testing.assert_allclose(session.run({"x": X, "offset": OFFSET})[0], Y)
    with pytest.raises(EngineError, match=r"input 'x' is \(1, 3\), and the file takes \(2, 3\)"):
        session.run({"x": X[:1], "offset": OFFSET})
    with pytest.raises(EngineError, match=r"static names \['x'\], and its inputs are"):
        open_session(affine_file, Target(engine="openvino"), static={"x": (2, 3)})
    with pytest.raises(EngineError, match="cannot fix its shapes to"):
        open_session(affine_file, Target(engine="openvino"), static={"x": (2, 7), "offset": (3,)})


def test_every_engine_has_fp32_and_names_are_checked() -> None:
    assert set(installed_engines()) == set(engines.engine_versions())
    assert all(precisions(engine)[0] == "fp32" for engine in installed_engines())
    with pytest.raises(UnknownNameError, match="did you mean 'openvino'"):
        precisions("open_vino")
