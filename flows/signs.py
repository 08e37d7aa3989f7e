"""Signs of life of a run, by which others tell one that goes on from one that was killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from storage import runs
from storage.store import Store


@contextmanager
def signs_of_life(store: Store, run: str) -> Iterator[None]:
    """Give a sign again and again until the context ends; one that cannot be given, while the store is away, is left out."""
    over = Event()

    def go_on() -> None:
        while not over.wait(runs.BEAT_S):
            with suppress(Exception):
                runs.give_sign(store, run)

    thread = Thread(target=go_on, name="signs-of-life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(1)  # a store that is away must not hold up who leaves
