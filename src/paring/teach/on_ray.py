"""The teacher asked on a Ray cluster: Ray Data's batch inference over the shards. The one file here that knows Ray.

https://docs.ray.io/en/latest/data/batch_inference.html: each actor holds one copy of the teacher.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from paring.core.cluster import join
from paring.errors import MissingError, ParingError
from paring.teach.teacher import Shard, Teacher


@dataclass(frozen=True)
class RayTeachers:
    """Asks at the cluster at `address` ("local" starts one here), with `size` teachers: else one a GPU, or a core.

    Inputs travel to the workers and answers back, so that no folder need be shared; Ray spills to disk what does not
    fit in its memory. What Ray retries is a teacher that died, not one that raised.
    Raises: MissingError where Ray Data is not installed.
    """

    address: str = "local"
    size: int | None = None

    def __call__(self, teacher: Teacher, shards: Iterable[Shard], /) -> Iterator[tuple[int, bytes]]:
        """See `Ask`."""
        ray = join(self.address, self.size)
        try:
            _load_data()
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # the error comes as an exception, too
            ray.data.DataContext.get_current().enable_progress_bars = False
            held = {number: ray.put(inputs) for number, inputs in shards}
            cluster = ray.cluster_resources()
            gpus = int(cluster.get("GPU", 0))
            size = min(self.size or gpus or int(cluster.get("CPU", 1)), len(held))
            rows = ray.data.from_items([{"number": number} for number in held], override_num_blocks=len(held))
            answered = rows.map_batches(
                _Asked,
                fn_constructor_args=(ray.put(teacher), held),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=size),
                num_gpus=1 if gpus else 0,
                num_cpus=1,
            )
            for row in answered.iter_rows():
                if row["error"]:
                    raise pickle.loads(row["error"])
                yield int(row["number"]), bytes(row["answers"])
        finally:
            ray.shutdown()


class _Asked:
    """One worker's teacher."""

    def __init__(self, teacher: Any, inputs: dict[int, Any]) -> None:
        import ray

        self._get, self._inputs = ray.get, inputs
        self._teacher: Teacher = ray.get(teacher)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One shard. An error of ours travels as data: Ray would wrap it beyond recognition."""
        (number,) = batch["number"].tolist()
        answers, error = b"", b""
        try:
            answers = self._teacher.answer(self._get(self._inputs[number]), self._device)
        except ParingError as raised:
            error = pickle.dumps(raised)
        return {"number": [number], "answers": [answers], "error": [error]}


def _load_data() -> None:
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise MissingError(f"--ray: {error}. Install it: pip install 'paring[fleet]'.") from error
