"""Time limits on attempts: what is late is given up, what fails by itself is passed on."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from flows.attempts import TimeLimitError, within


def test_work_in_time_gives_its_result_and_runs_beside_the_caller() -> None:
    assert within(60, "--detect-timeout-s", lambda _: threading.current_thread()) is not threading.current_thread()


def test_without_a_limit_work_runs_where_it_is_called() -> None:
    assert within(None, "--detect-timeout-s", lambda _: threading.current_thread()) is threading.current_thread()


def test_late_work_is_given_up_by_the_name_of_its_setting_and_ends_at_its_next_step() -> None:
    released, ended = threading.Event(), threading.Event()

    def slow(go_on: Callable[[], None]) -> None:
        assert released.wait(60)
        try:
            go_on()
        except TimeLimitError:
            ended.set()
            raise

    with pytest.raises(TimeLimitError, match=r"longer than 0\.01 s, which --detect-timeout-s allows"):
        within(0.01, "--detect-timeout-s", slow)
    assert not ended.is_set(), "the caller does not wait for what hangs"
    released.set()
    assert ended.wait(60)


@pytest.mark.parametrize("error", [TimeoutError("the store did not answer"), ValueError("a bug"), KeyboardInterrupt()])
def test_an_error_of_the_work_itself_is_passed_on(error: BaseException) -> None:
    def fail(go_on: Callable[[], None]) -> None:
        go_on()
        raise error

    with pytest.raises(type(error)) as caught:
        within(60, "--detect-timeout-s", fail)
    assert caught.value is error
