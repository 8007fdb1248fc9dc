"""What options lose and hold, whatever they run on: measured when first asked for, and kept unit by unit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import nn

from paring.allocate.costs import kind_of, operations, sized_inputs, stored_bytes
from paring.allocate.facts import Cut, Facts, Made, read_facts, write_facts
from paring.allocate.losses import Yardstick
from paring.allocate.made import made, shaped, swapped
from paring.allocate.moves import direction_of, to_bytes
from paring.allocate.option import DENSE, Option, Precision, Unit, precision_passes, structure_passes
from paring.allocate.prior import Prior, prior_of
from paring.clock.costs import Cost
from paring.core.recipe import Pass
from paring.graph.capture import input_shapes
from paring.graph.replay import Recording, record
from paring.graph.sites import submodule
from paring.graph.stops import Stops

NEXT_TO_NOTHING = 0.05  # of the other loss: both are added, not measured together
UNTOUCHED = 1e-9  # nats: folding alone loses less


class Measured:
    """Facts of `model` (float, batch norms folded) on a yardstick.

    `units` are those that leave every layer to itself: every layer's numbers are rounded behind those before it, in
    one sweep over all. `coded` is how bytes are counted, `batch_size` that of the operations, `digest` that of model
    and yardstick. What is measured anew goes to `path` with `save`.
    Raises: CorruptFileError for a file there that cannot be read.
    """

    def __init__(
        self,
        model: nn.Module,
        units: Sequence[Unit],
        yardstick: Yardstick,
        *,
        coded: bool,
        batch_size: int,
        digest: str = "",
        path: Path | None = None,
    ) -> None:
        self.model, self.units, self.yardstick = model, units, yardstick
        self.coded, self.batch_size, self.digest, self.path = coded, batch_size, digest, path
        self.facts = read_facts(path) if path is not None and path.is_file() else {}
        self.is_saved = True
        self._rounded: dict[Precision, nn.Module] = {}
        self._structured: dict[tuple[Unit, Option], nn.Module] = {}

    def cut(self, unit: Unit, structure: Option) -> Cut:
        """The unit in this structure, in floats."""
        known = self._of(unit).cuts
        if structure not in known:
            built = self._built(unit, structure)
            shapes = input_shapes(built, list(unit.layers), sized_inputs(self.yardstick.task, self.batch_size))
            # With fewer channels the layers' inputs and outputs are no longer comparable.
            guess = 0.0 if structure == DENSE else None if structure.structure == "width" else self._guess(unit, built)
            num_bytes = stored_bytes(built, unit.layers, coded=self.coded)
            known[structure] = Cut(guess, num_bytes, operations(built, unit.layers, shapes))
            self.is_saved = False
        return known[structure]

    def rounding(self, unit: Unit, precision: Precision) -> float | None:
        """The loss that curvature foretells of the unit in this precision; None where it has no say."""
        known = self._of(unit).rounding
        if precision not in known:
            known[precision] = 0.0 if precision == "float" else self._guess(unit, self._in(precision))
            self.is_saved = False
        return known[precision]

    def option(self, unit: Unit, option: Option) -> Made:
        """What the option loses alone, and what it holds."""
        known = self._of(unit).options
        if option not in known:
            structure = Option(option.structure, option.amount)
            added = self._added(unit, option)
            built = self._built(unit, structure)
            if option.precision != "float":
                built = self._rounded_in(built, unit, option, only_sizes=added is not None)
            loss, direction = added or self._lost(unit, option, built)
            ops = self.cut(unit, structure).operations
            known[option] = Made(
                loss if np.isfinite(loss) else None,
                stored_bytes(built, unit.layers, coded=self.coded),
                tuple(Cost(op.chain, op.shape, kind_of(submodule(built, name))) for name, op in ops.items()),
                direction,
            )
            self.is_saved = False
        return known[option]

    def save(self) -> None:
        """Puts what is new beside what was there."""
        if self.path is None or self.is_saved:
            return
        write_facts(self.facts, self.path)
        self.is_saved = True

    def _of(self, unit: Unit) -> Facts:
        return self.facts.setdefault(unit, Facts())

    def _added(self, unit: Unit, option: Option) -> tuple[float, bytes] | None:
        """What structure and precision lose apart, summed, where one of both loses next to nothing beside the other,
        and the direction of the one that loses more."""
        if option.structure == "dense" or option.precision == "float":
            return None
        apart = Option(option.structure, option.amount), Option(precision=option.precision)
        known = [self.option(unit, half) for half in apart]
        lost = [one.loss for one in known if one.loss is not None]
        if len(lost) < len(apart) or (option.precision != "half" and min(lost) > NEXT_TO_NOTHING * max(lost)):
            return None
        return sum(lost), max(known, key=lambda one: one.loss or 0.0).direction

    def _lost(self, unit: Unit, option: Option, built: nn.Module) -> tuple[float, bytes]:
        """What the option loses, and the direction of its move; empty where the model is no longer the original: what
        options add to what was lost before is not told apart from what they add to each other."""
        if option == DENSE:
            return 0.0, b""
        ruler = self.yardstick
        with self._recording.playing(built, unit.layers):
            after = ruler.answers(built)
        loss = ruler.loss_of(after)
        is_told = np.isfinite(loss) and self._start <= UNTOUCHED
        direction = to_bytes(direction_of(ruler.before, after, ruler.kind)) if is_told else b""
        return max(loss - self._start, 0.0), direction

    def _rounded_in(self, built: nn.Module, unit: Unit, option: Option, *, only_sizes: bool) -> nn.Module:
        """`built`, which has the option's structure, in its precision; `only_sizes`: by the cheapest rounding."""
        if option.structure == "dense":
            return swapped(self.model, self._in(option.precision), unit.layers)
        if only_sizes and not self.coded:  # coded bytes depend on the numbers
            return shaped(built, self.yardstick.task, {unit: Option(precision=option.precision)})
        return self._made(built, precision_passes({unit: option}))

    def _built(self, unit: Unit, structure: Option) -> nn.Module:
        if structure == DENSE:
            return self.model
        if (unit, structure) not in self._structured:
            # Copies of one unit at a time: a large model has no room for more.
            self._structured = {key: one for key, one in self._structured.items() if key[0] == unit}
            steps = structure_passes({unit: structure})
            self._structured[unit, structure] = self._made(self.model, steps)
        return self._structured[unit, structure]

    def _in(self, precision: Precision) -> nn.Module:
        """The model with every layer in one precision."""
        if precision not in self._rounded:
            steps = precision_passes({unit: Option(precision=precision) for unit in self.units})
            self._rounded[precision] = self._made(self.model, steps)
        return self._rounded[precision]

    def _made(self, model: nn.Module, steps: Sequence[Pass]) -> nn.Module:
        with self._stops.shared():
            return made(model, self.yardstick.task, steps)

    def _guess(self, unit: Unit, other: nn.Module) -> float | None:
        guesses = [] if unit.is_table else [self._prior.loss(name, submodule(other, name)) for name in unit.layers]
        known = [one for one in guesses if one is not None]
        total = sum(known) if known and len(known) == len(guesses) else None
        return total if total is None or np.isfinite(total) else None

    @cached_property
    def _prior(self) -> Prior:
        layers = [layer for unit in self.units if not unit.is_table for layer in unit.layers]
        return prior_of(self.model, layers, self.yardstick)

    @cached_property
    def _stops(self) -> Stops:
        data = self.yardstick.task.calibration
        assert data is not None
        return Stops(self.model, data)

    @cached_property
    def _start(self) -> float:
        return self.yardstick.loss(self.model)

    @cached_property
    def _recording(self) -> Recording:
        return record(self.model, self.yardstick.task, self.yardstick.data, [unit.layers for unit in self.units])
