"""A Ray cluster, joined or started here; the library is loaded only then."""

from __future__ import annotations

import logging
import os
from typing import Any

from paring.errors import MissingError

LOCAL = "local"


def join(address: str, size: int | None = None) -> Any:
    """The module `ray`, connected to the cluster at `address`; "local" starts one here with `size` cores.

    Raises: MissingError where Ray is not installed.
    """
    os.environ.setdefault("RAY_worker_niceness", "0")  # by default workers yield to everything, clocks and all
    try:
        import ray
    except ImportError as error:
        raise MissingError(f"--ray: {error}. Install it: pip install 'paring[fleet]'.") from error
    here = address == LOCAL
    ray.init(
        address=None if here else address,
        num_cpus=size if here else None,
        log_to_driver=False,
        logging_level=logging.ERROR,
        include_dashboard=False if here else None,
    )
    return ray
