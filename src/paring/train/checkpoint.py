"""A training on disk in mid-epoch, whole or not at all, and back again to the bit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from paring.core.atomic import write_atomically
from paring.core.edit import Epoch
from paring.core.scratch import Scratch
from paring.errors import CorruptFileError
from paring.graph.state import named_tensors


@dataclass
class Place:
    """Where a training stands: `epoch` counts from 1, `batch` is how many of it are done, `done` of all."""

    epoch: int = 1
    batch: int = 0
    done: int = 0
    smooth: float | None = None
    total: float = 0.0
    history: list[Epoch] = field(default_factory=list)
    finished: bool = False


Carried = Callable[[], Sequence[Tensor]]


@dataclass
class Checkpoint:
    """One training's file in the scratch folder; nothing is written without a folder."""

    scratch: Scratch | None
    key: str
    model: nn.Module
    learned: Sequence[nn.Parameter]
    optimizer: torch.optim.Optimizer
    carried: Carried = tuple
    best: dict[str, Tensor] = field(default_factory=dict)
    epoch_chance: Tensor | None = None
    written_at: float = field(default_factory=time.monotonic)

    @property
    def path(self) -> Path | None:
        """The file, or None."""
        return None if self.scratch is None else self.scratch.folder / f"training-{self.key}.safetensors"

    def due(self) -> bool:
        """Whether it is time to write."""
        return self.scratch is not None and time.monotonic() - self.written_at >= self.scratch.every_s

    def write(self, place: Place) -> None:
        """Writes the file, flushed to the disk before it takes the place of the one before."""
        path = self.path
        if path is None:
            return
        tensors = {f"model/{name}": tensor for name, tensor in weights_of(self.model).items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"learned/{i}": p.detach() for i, p in enumerate(self.learned)}
        tensors |= {f"carried/{i}": tensor for i, tensor in enumerate(self.carried())}
        for i, parameter in enumerate(self._trained()):
            state = self.optimizer.state.get(parameter, {})
            tensors |= {f"optimizer/{i}/{name}": value for name, value in state.items()}
        tensors["chance/now"] = torch.random.get_rng_state()
        if torch.cuda.is_available():
            tensors["chance/cuda"] = torch.cuda.get_rng_state()
        if self.epoch_chance is not None:
            tensors["chance/epoch"] = self.epoch_chance
        data = save(
            {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()},
            {"place": json.dumps(asdict(place))},
        )
        write_atomically(path, data)
        self.written_at = time.monotonic()

    @torch.no_grad()
    def read(self) -> Place | None:
        """Puts everything back as it was, and says where it was; None without a file.

        Raises: CorruptFileError for a file that is damaged.
        """
        path = self.path
        if path is None or not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                raw = json.loads(file.metadata()["place"])
            for name, tensor in weights_of(self.model).items():
                tensor.copy_(tensors[f"model/{name}"])
            for i, parameter in enumerate(self.learned):
                parameter.copy_(tensors[f"learned/{i}"])
            for i, own in enumerate(self.carried()):
                own.copy_(tensors[f"carried/{i}"])
        except Exception as error:
            raise CorruptFileError(
                f"{path}: cannot be read ({type(error).__name__}). Remove it to start anew."
            ) from error
        self.best = {name.removeprefix("best/"): t for name, t in tensors.items() if name.startswith("best/")}
        for i, parameter in enumerate(self._trained()):
            found = {name.rsplit("/", 1)[1]: t for name, t in tensors.items() if name.startswith(f"optimizer/{i}/")}
            if found:
                self.optimizer.state[parameter] = {
                    name: t if name == "step" else t.to(parameter.device) for name, t in found.items()
                }
        self.epoch_chance = tensors.get("chance/epoch")
        torch.random.set_rng_state(tensors["chance/now"])
        if "chance/cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["chance/cuda"])
        history = [Epoch(**one) for one in raw.pop("history")]
        return Place(**raw, history=history)

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Each parameter and buffer once, under its first name; the tensors themselves."""
    seen: dict[int, str] = {}
    return {name: t for name, t in named_tensors(model) if seen.setdefault(id(t), name) == name}


@torch.no_grad()
def put_back_(model: nn.Module, kept: dict[str, Tensor]) -> None:
    """Copies weights that `weights_of` once gave into the model."""
    for name, tensor in weights_of(model).items():
        tensor.copy_(kept[name])
