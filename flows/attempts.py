"""A time limit on work that cannot be interrupted: a thread that does not come back is left alone, and its slot goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


class TimeLimitError(TimeoutError):
    """An attempt took longer than its setting allows; the message names the setting."""


def within(seconds: float | None, setting: str, work: Callable[[Callable[[], None]], Result]) -> Result:
    """What `work` returns or raises, or TimeLimitError if it takes longer than so many seconds; None for no limit.

    `work` is given a function to call now and then, which ends it once it has been given up. Work that hangs, in a decoder
    or on a network, goes on hanging, for Python cannot end a thread; all it could still do is to commit what another
    attempt commits too.
    """
    if seconds is None:
        return work(lambda: None)
    future: Future[Result] = Future()
    given_up = threading.Event()
    late = TimeLimitError(f"an attempt took longer than {seconds:g} s, which {setting} allows")

    def go_on() -> None:
        if given_up.is_set():
            raise late

    def run() -> None:
        try:
            future.set_result(work(go_on))
        except BaseException as error:
            future.set_exception(error)

    # A daemon: what hangs must not keep the process from ending.
    threading.Thread(target=run, name=f"within {seconds:g} s", daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError:
        if future.done():  # the error is the work's own
            return future.result()
        given_up.set()
        raise late from None
