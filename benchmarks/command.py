"""The command itself: seconds from starting it to the first annotated frame, cold and warm, and what a whole run leaves behind.

`tkm annotate` is started as its own process and its output folder is polled: the first frame is there when a commit of
suppress is, the last stage that looks at each frame by itself, with one frame a chunk. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import clips

FEW_FRAMES = 8
# What the script `tkm` calls; this way it is this checkout that runs, wherever the package is installed from.
_TKM = (sys.executable, "-m", "flows.cli")


def first_frame(output: Path, environment: dict[str, str]) -> dict[str, float]:
    """Seconds from starting the command to the first frame's commit, and to its end."""
    few = ("--frames", f"0:{FEW_FRAMES}", "--chunk-frames", "1", "--quiet")
    began = time.perf_counter()
    process = subprocess.Popen([*_TKM, "annotate", str(clips.DEMO), "--output", str(output), *few], env=environment)
    first = None
    while process.poll() is None:
        if first is None and any(output.glob("chunks/suppress/*/*.json")):
            first = time.perf_counter() - began
        time.sleep(0.01)
    if process.returncode or first is None:
        raise RuntimeError(f"tkm annotate ended with status {process.returncode} before a frame was seen")
    return {"first": first, "all": time.perf_counter() - began}


def forget_files() -> bool:
    """Have the system forget what it has read from disk; False where that takes rights that this process lacks."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        return False
    return True


def whole_run(clip: Path, output: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Seconds of the command on a clip, and the bytes it leaves, by the output's folders."""
    began = time.perf_counter()
    subprocess.run([*_TKM, "annotate", str(clip), "--output", str(output), "--quiet"], env=environment, check=True)
    seconds = time.perf_counter() - began
    sizes = {
        folder.name: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for folder in sorted(output.iterdir())
        if folder.is_dir()
    }
    return {"seconds": seconds, "bytes": sizes}


def measure(frames: int, folder: Path) -> dict[str, Any]:
    """A cold start, a warm one, and a whole run on the demo clip repeated to so many frames."""
    environment = {
        **os.environ,
        "PREFECT_HOME": str(folder / "prefect"),
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or the second start would be as cold as the first
    is_dropped = forget_files()
    cold = first_frame(folder / "cold", environment)
    warm = first_frame(folder / "warm", environment)
    clips.repeat(clips.DEMO, folder / "clip.mp4", frames)
    whole = whole_run(folder / "clip.mp4", folder / "whole", environment)
    return {"frames": frames, "cold": cold, "is_page_cache_dropped": is_dropped, "warm": warm, "whole": whole}


def main() -> None:
    """Measure by processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300, help="length of the whole run's clip (default: 300)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(options.frames, Path(folder))))


if __name__ == "__main__":
    main()
