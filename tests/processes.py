"""Processes that end with the tests that started them."""

from __future__ import annotations

# `[sys.executable, "-c", START, program, *arguments]`: on Linux the kernel is asked to end the program with these tests, however
# they end.
START = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
os.execv(sys.argv[1], sys.argv[1:])
"""
