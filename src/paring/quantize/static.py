"""Integer weights and activations whose ranges are fixed ahead, on calibration data."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, final, get_args

from torch import nn

from paring.core.edit import Declined, Progress, Step, accepted
from paring.core.recipe import Pass
from paring.core.target import EngineName
from paring.core.task import Task
from paring.errors import SettingError, UnknownNameError
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.folding import folds
from paring.graph.operands import Operation, find_operands
from paring.graph.targets import targets
from paring.numerics.quant import Range, activation_scale, symmetric_scale
from paring.quantize.calibrate import Ranges, Site, calibrated
from paring.quantize.clock import fastest
from paring.quantize.integers import Quantizer, WeightRange, Weights, largest_integer
from paring.quantize.observers import MinMax, Observer
from paring.quantize.plan import Plan, chosen_operations, sites_of
from paring.quantize.rounding import Nearest, Rounding
from paring.quantize.sensitivity import within_drop

Placement = Literal["inputs", "adds", "pools", "clock"]
Activations = Literal["affine", "symmetric"]
KINDS = (nn.Linear, nn.Conv2d)


@final
@dataclass(frozen=True)
class Static(Pass):
    """Linear and Conv2d with stored integer weights and calibrated 8-bit inputs, batch norms folded.

    Weights are symmetric, with one scale a channel unless `per_channel` is off; `num_bits` (2 to 8) is theirs. Below 8
    bits `clip` takes the scale of least squared error rather than the one that clips nothing. Inputs have one scale a
    tensor, from the range that `observer` chooses: affine uint8, or with `activations="symmetric"` zero in the middle,
    signed where `signed` says so (int8; ONNX Runtime's kernels want uint8, OpenVINO takes both).
    `weight_range="half"` keeps 8-bit weights within -64..64, so that x86 kernels without VNNI, which add two products
    in 16 bits, cannot saturate; `"auto"` does so where this machine needs it.
    `placement="adds"` also rounds both sides of residual additions of feature maps, `"pools"` what average pools read
    (ONNX Runtime runs a convolution before one in integers only then), `attention` both sides of products between
    activations; `"clock"` exports every way and takes the one that `engine` (or the fastest) runs fastest.
    With `max_drop`, in the metric's unit, the most sensitive layers stay in floats until the drop on validation fits.
    Reference: Jacob et al. 2018, arXiv:1712.05877.
    """

    name: ClassVar[str] = "quantize.static"
    needs: ClassVar[frozenset[str]] = frozenset({"calibration"})
    traits: ClassVar[frozenset[str]] = frozenset({"integer weights"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "the weights are integers already. Keep one of the two steps."
    }

    num_bits: int = 8
    weight_range: WeightRange = "auto"
    placement: Placement = "inputs"
    observer: Observer = field(default_factory=MinMax)
    activations: Activations = "affine"
    signed: bool = False
    attention: bool = False
    per_channel: bool = True
    rounding: Rounding = field(default_factory=Nearest)
    bias_correction: bool = False
    clip: bool = True
    max_drop: float | None = None
    engine: EngineName | None = None

    def __post_init__(self) -> None:
        if isinstance(self.num_bits, bool) or not isinstance(self.num_bits, int) or not 2 <= self.num_bits <= 8:
            raise SettingError(f"{self.name}: num_bits is {self.num_bits}; it must be a whole number from 2 to 8.")
        choices = {"weight_range": WeightRange, "placement": Placement, "activations": Activations}
        for kind, allowed in choices.items():
            if getattr(self, kind) not in get_args(allowed):
                raise UnknownNameError(kind, getattr(self, kind), get_args(allowed), self.name)
        if self.engine not in (None, "onnxruntime", "openvino"):
            raise UnknownNameError("engine", self.engine, ("onnxruntime", "openvino"), self.name)
        if self.signed and self.activations == "affine":
            raise SettingError(f"{self.name}: signed goes with activations: symmetric; affine inputs are uint8.")
        if self.max_drop is not None and not self.max_drop >= 0:
            raise SettingError(
                f"{self.name}: max_drop is {self.max_drop}; it must be at least 0, in the metric's unit."
            )

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Folds, calibrates every selected layer on the folded float model, then quantizes layer by layer.

        Raises: BatchError for an empty calibration, ForwardError for NaN in a layer's input, LayerError for NaN in a
        weight, TraceError, NothingToDoError.
        """
        yield from unfuse_all(model)
        yield from folds(model, task.example_inputs, self.selects)
        names = [name for name, _ in (yield from accepted(targets(self, model, KINDS)))]
        found: tuple[Operation, ...] = ()
        if self.attention or self.placement != "inputs":
            operations = find_operands(model, task.example_inputs, task.dynamic_dims)
            found = tuple(one for one in operations if self.selects(one.module) or not self.include)
        chosen = self
        if self.placement == "clock":
            ways = self.ways(found)
            plans = [way.planned(model, names, found, task) for way in ways]
            chosen = ways[(yield from fastest(plans, model, task, self.engine))]
        plan = yield from chosen.planned(model, names, found, task)
        for name in names:
            if name not in plan.layers:
                yield Declined(name, "no calibration batch reached it")
        if self.max_drop is not None:
            verdict, ranked = yield from within_drop(model, plan, task, self.max_drop)
            divergences = {one.unit: one.divergence for one in ranked}
            for unit in verdict.kept:
                yield Declined(unit, f"kept in floats: its integers alone cost {divergences[unit]:.3g}; {verdict}")
            plan = plan.without(verdict.kept)
        yield from plan.edits(model, task)

    def ways(self, found: tuple[Operation, ...]) -> list[Static]:
        """What `placement="clock"` chooses among: quantizers on inputs, around additions, and in attention."""
        base = replace(self, placement="inputs", attention=False, max_drop=None, engine=None)
        tried = [base]
        if chosen_operations(found, adds=True):
            tried.append(replace(base, placement="adds"))
        if chosen_operations(found, pools=True):
            tried.append(replace(base, placement="pools"))
        if chosen_operations(found, attention=True):
            tried.append(replace(base, attention=True))
        return tried

    def planned(
        self, model: nn.Module, names: list[str], found: tuple[Operation, ...], task: Task
    ) -> Generator[Progress, None, Plan]:
        """What becomes integers, with the numbers that calibration gives."""
        adds, pools = self.placement == "adds", self.placement == "pools"
        operations = chosen_operations(found, adds=adds, pools=pools, attention=self.attention)
        ranges = yield from calibrated(model, sites_of(names, operations), task, self.observer, self.name)
        reached = {name: seen for name in names if not (seen := ranges[Site(name)]).is_empty}
        layers = {name: self.quantizer(seen, signed=self.signed and seen.low < 0) for name, seen in reached.items()}
        modules = dict.fromkeys(one.module for one in operations)
        operands = {name: self.operands(name, ranges) for name in modules}
        weights = Weights(
            self.num_bits, self.quant_max(), self.per_channel, self.rounding, self.bias_correction, self.clip
        )
        return Plan(layers, operands, weights, self.name)

    def operands(self, module: str, ranges: Ranges) -> dict[Site, Quantizer]:
        """Quantizers of the operands of one module's operations; only the second of a pair may be signed."""
        return {
            site: self.quantizer(seen, signed=self.signed and site.operand % 2 == 1)
            for site, seen in ranges.items()
            if site.module == module and site.position is not None
        }

    def quantizer(self, seen: Range, *, signed: bool) -> Quantizer:
        """Scale and zero point for a range of activations."""
        if self.activations == "affine":
            return Quantizer(*activation_scale(seen))
        return Quantizer(*symmetric_scale(seen, signed=signed), signed)

    def quant_max(self) -> int:
        """See `largest_integer`."""
        return largest_integer(self.num_bits, self.weight_range)
