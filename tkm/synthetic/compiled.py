"""Compiling loops with numba, kept on disk between processes where there is a folder to keep them in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as machine code, made at its first call. One thread, and no reordering of sums: equal input, equal bits.

    What is kept on disk is made anew when the function's own file changes, not when another does. So a compiled function may use
    only functions and constants of its own file.
    """
    try:
        return numba.njit(function, cache=True, error_model="numpy")
    except RuntimeError:  # neither the package's folder nor the user's can be written
        return numba.njit(function, error_model="numpy")
