"""What a worker does before it offers itself (Dask's `--preload flows.warm`): it imports what tasks run, and builds the networks
where it offers a GPU.

All of it in one thread, while nothing else runs there: native libraries that are first used from two threads at once can wait
for each other with Python's lock held, and such a worker hangs without a word. So can Dask's profiler, which looks at all
threads' stacks a hundred times a second: on Python 3.11 a garbage collection in that moment may wait for ever
(python/cpython#106883, dask/distributed#8616). It is turned off, before the worker asks whether it is on.
"""

from __future__ import annotations

import torch  # noqa: F401 - which G_k takes on workers without networks, too
from dask import config
from distributed import Worker

from flows import work  # noqa: F401 - what tasks run
from tasks import estimate
from tkm.networks import runtime

config.set({"distributed.worker.profile.enabled": False})


def dask_setup(worker: Worker) -> None:
    """Called by Dask as the worker starts; a local one does so while Prefect starts in the flow's process."""
    runtime.keep_freed_memory()
    if "GPU" not in worker.state.total_resources:
        return
    from tkm.networks.nanodet import nanodet

    runtime.on_device(nanodet)
    estimate.pose_network(estimate.EstimateParams())
