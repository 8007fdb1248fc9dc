"""Which int8 files benchmarks/quantize.py makes of each net: ours by recipe, the peers' by their settings."""

from __future__ import annotations

from quantize_files import Peer

from paring.core.recipe import Pass
from paring.quantize.embedding import Embedding
from paring.quantize.observers import MinMax, Mse, Observer, Percentile
from paring.quantize.static import Static

OURS = "ours, "
ENCODERS = ("encoder", "roberta")
UNTRAINED = ("lenet", "vgg16", "roberta")
RESIDUAL = ("resnet20",)


def ours(subject: str) -> dict[str, tuple[Pass, ...]]:
    """Row name -> passes; every row's name begins with OURS."""
    before: tuple[Pass, ...] = (Embedding(),) if subject in ENCODERS else ()
    rows: dict[str, tuple[Pass, ...]] = {}

    def row(name: str, step: Static) -> None:
        rows[OURS + name] = (*before, step)

    if subject in ENCODERS:
        found = Percentile(99.99)
        row("percentile", Static(observer=found))
        row("percentile, symmetric", Static(observer=found, activations="symmetric", signed=True))
        row("percentile, attention", Static(observer=found, attention=True))
        row(
            "percentile, attention, symmetric",
            Static(observer=found, attention=True, activations="symmetric", signed=True),
        )
        if subject == "encoder":
            row("mse, attention", Static(observer=Mse(), attention=True))
        return rows
    observers: dict[str, Observer] = {"minmax": MinMax()}
    if subject not in UNTRAINED:
        observers |= {"percentile": Percentile(99.99), "mse": Mse()}
    for name, observer in observers.items():
        row(name, Static(observer=observer))
        if subject in RESIDUAL:
            row(f"{name}, adds", Static(observer=observer, placement="adds"))
        if subject == "vgg":
            row(f"{name}, pools", Static(observer=observer, placement="pools"))
    if subject not in UNTRAINED:
        row("minmax, bias correction", Static(bias_correction=True))
    if subject == "conversion":
        rows[OURS + "minmax, tables row by row"] = (Embedding(), Static())
    return rows


def peers(subject: str) -> dict[str, Peer]:
    """Row name -> how the peer is called."""
    kind = ("transformer",) if subject in ENCODERS else ()
    rows = {
        "nncf onnx": Peer("nncf_peer.py", ("onnx", *kind), "nncf"),
        "nncf openvino": Peer("nncf_peer.py", ("openvino", *kind), "nncf", "xml"),
        "nncf openvino mixed": Peer("nncf_peer.py", ("openvino", "mixed", *kind), "nncf", "xml"),
        "onnxruntime static": Peer("ort_peer.py", ("minmax",)),
        "onnxruntime dynamic": Peer("ort_peer.py", ("dynamic",)),
    }
    if subject in UNTRAINED:
        return rows
    rows |= {
        "onnxruntime static percentile": Peer("ort_peer.py", ("percentile",)),
        "onnxruntime static s8": Peer("ort_peer.py", ("minmax", "s8")),
        "neural-compressor static": Peer("neural_compressor_peer.py", ("static",), "neural_compressor"),
        "torchao pt2e static": Peer("torchao_peer.py", ("pt2e",), "torchao"),
    }
    if subject != "resnet20":
        rows["torchao dynamic"] = Peer("torchao_peer.py", ("dynamic",), "torchao", "npz")
    return rows
