"""What can go wrong with a run as a whole; a single video's trouble is a row in `failures`."""


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
