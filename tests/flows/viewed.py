"""Results put together by hand to look through, and a server of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import uvicorn

from flows.view.server import make_app
from storage.sources import Source
from storage.store import Store
from tests.builders import standing
from tests.flows.results import publish
from tkm.types import PoseSet

FRAMES = 60
SAMPLED = list(range(0, FRAMES, 2))
SIZE_PX = (320, 240)


def write_numbered(path: Path, frames: int = FRAMES, codec: str = "libx264") -> None:
    """A clip whose frames differ: each has its own grey. Decoding can start at every twelfth."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        (stream.width, stream.height), stream.pix_fmt, stream.gop_size = SIZE_PX, "yuv420p", 12
        for n in range(frames):
            grey = np.full((*SIZE_PX[::-1], 3), 40 + 3 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode(None))


def two_people() -> tuple[PoseSet, list[int]]:
    """Two people who walk at 1 px a frame; the second from frame 20 on. The first's left wrist is elsewhere in frame 30."""
    seen = [(frame, person) for frame in SAMPLED for person in (0, 1) if person == 0 or frame >= 20]
    places = [(80.0 + frame + 100 * person, 120.0) for frame, person in seen]
    poses = standing([frame for frame, _ in seen], places, score=[(0.9, 0.5)[person] for _, person in seen])
    xy_px = poses.xy_px.copy()
    xy_px[seen.index((30, 0)), 9] += (-70, 90)
    return replace(poses, xy_px=xy_px), [person for _, person in seen]


def publish_two_people(store: Store, clip: Path) -> str:
    """Publish them over a clip; its id."""
    return publish(store, Source(str(clip)), SAMPLED, *two_people())


@contextmanager
def served(store: Store, run: str | None = None) -> Iterator[str]:
    """Address of a server of a store's results, on loopback."""
    config = uvicorn.Config(make_app(store, run, ["127.0.0.1"]), port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended as it started"
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
