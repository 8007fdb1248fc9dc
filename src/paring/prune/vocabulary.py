"""Structured pruning of embedding rows that the task's own data never use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from paring.core.edit import Declined, Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import MissingError, SettingError
from paring.graph.edits.vocabulary import MappedEmbedding, SliceVocabulary
from paring.graph.sites import submodule
from paring.graph.targets import targets

ROWS_AT_ONCE = 1024

Split = Literal["train", "calibration", "validation"]


@final
@dataclass(frozen=True)
class Vocabulary(Pass):
    """Drops the rows of embeddings whose ids the corpus never uses; the map from old ids to new goes into the model.

    The corpus is what the splits in `corpus` send through each embedding; `keep` names ids that stay whatever it says
    (special tokens). Every dropped id reads the row of `unknown`, or with `nearest` the kept row that its own row is
    most like by cosine, if any is at all: a rare word then reads as a known one. An embedding that loses less than
    `min_ratio` of its rows is left alone: the map costs 4 bytes an id.
    Raises: SettingError; MissingError for a split the task lacks; LayerError for an `unknown` outside an embedding.
    Reference: Abdaoui, Pradel & Sigel 2020 (smaller multilingual BERT), arXiv:2010.05609.
    """

    name: ClassVar[str] = "prune.vocabulary"
    needs: ClassVar[frozenset[str]] = frozenset()

    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer embeddings": "the rows are integers already. Drop rows first, then quantize the embedding."
    }

    corpus: tuple[Split, ...] = ("train", "calibration")
    keep: tuple[int, ...] = ()
    unknown: int = 0
    nearest: bool = False
    min_ratio: float = 0.05

    def __post_init__(self) -> None:
        if not self.corpus:
            raise SettingError(f"{self.name}: corpus is empty; name at least one of train, calibration, validation.")
        if min((*self.keep, self.unknown)) < 0 or not 0 <= self.min_ratio < 1:
            raise SettingError(f"{self.name}: ids must be at least 0 and min_ratio in [0, 1).")

    def requirements(self) -> frozenset[str]:
        """The splits that make up the corpus."""
        return frozenset(self.corpus)

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `Pass.run`."""
        chosen: dict[str, nn.Embedding] = {}
        for name, table in (yield from accepted(targets(self, model, (nn.Embedding,)))):
            assert isinstance(table, nn.Embedding)
            chosen[name] = table
        used = self._used(model, task, chosen)
        for name, embedding in chosen.items():
            total = embedding.num_embeddings
            ids = used[name] | {i for i in self.keep if i < total} | {self.unknown}
            if embedding.padding_idx is not None:
                ids.add(embedding.padding_idx)
            if self.unknown >= total:
                yield self.decline(name, f"it has {total} rows, and unknown is {self.unknown}", "Choose a row it has")
            elif not used[name]:
                yield Declined(name, "the corpus never reaches it")
            elif len(ids) > total * (1 - self.min_ratio):
                yield Declined(name, f"the corpus uses {len(used[name])} of its {total} rows")
            else:
                kept, table_VD = tuple(sorted(ids)), embedding.weight.detach()
                yield SliceVocabulary(name, kept, self.unknown)
                if self.nearest:
                    mapped = submodule(model, name)
                    assert isinstance(mapped, MappedEmbedding)
                    _map_to_nearest(mapped, table_VD, kept)

    @torch.no_grad()
    def _used(self, model: nn.Module, task: Task, chosen: dict[str, nn.Embedding]) -> dict[str, set[int]]:
        used: dict[str, set[int]] = {name: set() for name in chosen}
        with ExitStack() as stack:
            stack.callback(model.train, model.training)
            model.eval()
            for name, embedding in chosen.items():

                def see(_module: nn.Module, args: Any, name: str = name) -> None:
                    assert isinstance(args[0], Tensor)
                    used[name] |= set(torch.unique(args[0]).tolist())

                stack.callback(embedding.register_forward_pre_hook(see).remove)
            for split in self.corpus:
                data = getattr(task, split)
                if data is None:
                    raise MissingError(f"{self.name}: needs task.{split}, and the task has none. Change `corpus`.")
                for inputs, _ in data:
                    task.predict(model, inputs)
        return used


@torch.no_grad()
def _map_to_nearest(mapped: MappedEmbedding, table_VD: Tensor, kept: tuple[int, ...]) -> None:
    """Lets every dropped id read the kept row with the largest cosine above 0 to its own."""
    unit_VD = functional.normalize(table_VD.float(), dim=1)
    unit_KD = unit_VD[list(kept)]
    is_kept_V = torch.zeros(len(table_VD), dtype=torch.bool)
    is_kept_V[list(kept)] = True
    for ids in torch.split((~is_kept_V).nonzero()[:, 0], ROWS_AT_ONCE):
        cosine, place = (unit_VD[ids] @ unit_KD.T).max(1)
        mapped.id_map[ids] = torch.where(cosine > 0, place.to(mapped.id_map), mapped.id_map[ids])
