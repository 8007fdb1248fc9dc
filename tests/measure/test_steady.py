from __future__ import annotations

import gc
import os
import threading

import pytest
import torch

from paring.engines import usable_cores
from paring.measure.steady import quiet_cores, steady

linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads cannot be pinned here")


@linux
def test_every_thread_is_pinned_and_all_is_restored() -> None:
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    stop = threading.Event()
    early, late = (threading.Thread(target=stop.wait, daemon=True) for _ in range(2))
    early.start()
    seen = []

    def look() -> list[set[int]]:
        return [os.sched_getaffinity(thread or 0) for thread in (0, early.native_id, late.native_id)]

    def fail() -> None:
        late.start()
        seen.extend(look())
        assert not gc.isenabled() and torch.get_num_threads() == 1
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), steady(1) as cores:
        fail()
    after = look()
    stop.set()
    assert seen == [set(cores)] * 3 and len(cores) == 1
    assert after == [before] * 3
    assert gc.isenabled() and torch.get_num_threads() == threads


def test_more_threads_than_cores_means_all_of_them() -> None:
    assert quiet_cores(10_000) == usable_cores()
    assert set(quiet_cores(1, look_s=0)) <= set(usable_cores())
