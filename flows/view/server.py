"""The results by HTTP, for the page in page/ and nobody else: GET only, of this store and the videos that it names.

A page of another site must not read this through the browser of whoever looks at it: requests that call this server by a name
that is not its own are refused (DNS rebinding), and browsers are told to give nothing of it to other sites.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from deltalake.exceptions import DeltaError
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pyarrow import ArrowException
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from flows.overlay import COLOURS, MIN_KEYPOINT_SCORE, TRAIL_FRAMES
from flows.view.bars import Timeline
from flows.view.joint import joint_of
from flows.view.pictures import GoneError, Pictures
from flows.view.results import PERSON, Looked, Results, UnknownVideoError
from storage.addresses import hidden
from storage.artifacts import DamagedArtifactError
from storage.store import Store, StoreError

MAX_WINDOW = 4096  # frames whose people one request may ask for
MAX_SIDE_PX = 8192
_PAGE = Path(__file__).parent / "page"
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_Place = Annotated[int, Query(ge=0)]
_Columns = Annotated[int, Query(ge=1, le=10_000)]
_Width = Annotated[int, Query(ge=16, le=MAX_SIDE_PX)]
_Text = Annotated[str, Query(max_length=1000)]


def make_app(store: Store, run: str | None, hosts: Sequence[str]) -> FastAPI:
    """The server of a store's results, or of those of a run, for requests that call it by one of these names.

    StoreError where there are no finished videos.
    """
    results, pictures = Results(store, run), Pictures(store)
    timelines: dict[str, Timeline] = {}
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/")
    def page() -> Response:
        return FileResponse(_PAGE / "index.html")

    @app.get("/api/results")
    def about() -> Any:
        """What is looked at, and how people are drawn. Which videos there are is read again."""
        results.refresh()
        return {
            "root": store.root, "run": run, "person": PERSON, "colours": [colour.as_hex() for colour in COLOURS.colors],
            "min_keypoint_score": MIN_KEYPOINT_SCORE, "trail_frames": TRAIL_FRAMES,
        }  # fmt: skip

    @app.get("/api/videos")
    def videos(text: _Text = "") -> Any:
        """The first of the videos with a text in their id or name."""
        return results.videos(text)

    @app.get("/api/videos/{video}")
    def opened(video: str) -> Any:
        """A video as the tables show it now."""
        looked = results.open(video)
        skeleton = {"name": looked.skeleton.name, "keypoints": looked.skeleton.keypoints, "limbs": looked.skeleton.limbs}
        size_px = looked.size_px()
        return {"row": looked.row, "size_px": size_px, "skeleton": skeleton, "tracks": looked.tracks, "suspects": looked.suspects}

    @app.get("/api/videos/{video}/times")
    def times(video: str) -> Response:
        """Numbers of the T sampled frames, then their times in ns: 2 T float64, little-endian."""
        looked = results.looked(video)
        return _numbers(np.concatenate([looked.frames, looked.pts_ns]).astype("<f8"))

    @app.get("/api/videos/{video}/people")
    def people(video: str, start: _Place, stop: _Place) -> Response:
        """The people of the frames at places [start, stop): rows of PERSON and the keypoints, float32, little-endian."""
        looked = results.looked(video)
        if not start <= stop <= len(looked.frames) or stop - start > MAX_WINDOW:
            raise HTTPException(404, f"give at most {MAX_WINDOW} of the video's {len(looked.frames)} frames")
        return _numbers(looked.window(start, stop).astype("<f4"))

    @app.get("/api/videos/{video}/timeline")
    def timeline(
        video: str, start: _Place, stop: _Place, columns: _Columns, min_score: float = -1.0, track: int | None = None
    ) -> Any:
        """Bars of the tracks, as many as so many columns show."""
        looked = results.looked(video)
        if not start < stop <= len(looked.frames):
            raise HTTPException(404, f"the video has {len(looked.frames)} sampled frames")
        known = timelines.get(video)
        if known is None or known.looked is not looked:
            timelines.clear()  # of the video that is looked at
            known = timelines[video] = Timeline(looked)
        return known.bars(start, stop, columns, min_score, track)

    @app.get("/api/videos/{video}/frames/{frame}.jpg")
    def frame_jpeg(video: str, frame: int, width: _Width = MAX_SIDE_PX) -> Response:
        """A sampled frame, by its number in the video."""
        looked = results.looked(video)
        return Response(pictures.jpeg(looked, _place(looked, frame), width), media_type="image/jpeg")

    @app.get("/api/videos/{video}/joint")
    def joint(video: str, frame: _Place, track: int, name: _Text) -> Any:
        """Candidates and responses of a keypoint of a track in a frame."""
        looked = results.looked(video)
        found = joint_of(store, looked, _place(looked, frame), track, name)
        if found is None:
            raise HTTPException(404, f"there is no {name} of track {track} in frame {frame}")
        return found

    app.mount("/page", StaticFiles(directory=_PAGE))
    app.add_exception_handler(StarletteHTTPException, lambda _, error: _said(error.status_code, error.detail))
    app.add_exception_handler(UnknownVideoError, lambda _, error: _said(404, f"there is no video {error}"))
    app.add_exception_handler(GoneError, lambda _, error: _said(410, error))
    for kind in (StoreError, DamagedArtifactError, OSError, DeltaError, ArrowException):
        app.add_exception_handler(kind, lambda _, error: _said(502, error))

    @app.middleware("http")
    async def guarded(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    return app


def _place(looked: Looked, frame: int) -> int:
    place = looked.place_of(frame)
    if place is None:
        raise HTTPException(404, f"frame {frame} was not sampled")
    return place


def _numbers(values: Any) -> Response:
    return Response(values.tobytes(), media_type="application/octet-stream")


def _said(status: int, error: object) -> JSONResponse:
    """An error in words, without secrets that libraries repeat."""
    return JSONResponse({"detail": hidden(str(error))}, status)
