"""What can go wrong with a run as a whole; a single video's trouble is a row in `failures`."""

from collections.abc import Callable
from typing import Any


def unless(*hopeless: type[Exception]) -> Callable[[Any, Any, Any], bool]:
    """For Prefect: whether a step that raised is worth another attempt, which it is but for these errors: the store or the
    tables may have been out of reach.
    """

    def may_pass(_task: Any, _run: Any, state: Any) -> bool:
        try:
            state.result()
        except hopeless:
            return False
        except Exception:
            return True
        return False

    return may_pass


class ClusterError(RuntimeError):
    """The cluster cannot be used; the message says which and what to do."""


class ServerError(RuntimeError):
    """Prefect's server does not start, or the configured one does not answer; the message says which and why."""


class TooManyFailuresError(RuntimeError):
    """More videos failed than the run was told to bear."""


class EvaluationError(RuntimeError):
    """Some files or videos could not be read or scored, for a reason that may pass; the message names them."""


class ClusterLostError(RuntimeError):
    """The Dask scheduler went away in the middle of a run; what was committed is kept."""


class QueryError(RuntimeError):
    """A query cannot be answered as it is asked; the message says what is wrong, and what there is."""
