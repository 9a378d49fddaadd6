"""Trains in a process of its own, to be killed: `python train_tiny.py RUN CELL EPOCHS`.

Always the same command; it saves after every second step. With `before NAME` or `after NAME` after
it, it kills itself where a file or directory of that name is put in its place.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from small_run import runner


def kill_at(when: str, name: str) -> None:
    """Nothing appears in a run but by one of these two calls."""

    def deadly(move):
        def moved(source, target, *more):
            found = Path(target).name.startswith(name)
            if found and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            move(source, target, *more)
            if found:
                os.kill(os.getpid(), signal.SIGKILL)

        return moved

    os.rename, os.replace = deadly(os.rename), deadly(os.replace)


if __name__ == "__main__":
    path, (cell, epochs, *moment) = Path(sys.argv[1]), sys.argv[2:]
    path.mkdir(exist_ok=True)
    run = runner(
        path, "--resume", "--cell", cell, "--epochs", epochs, "--patience", epochs,
        "--checkpoint-steps", "2",
    )  # fmt: skip
    if moment:
        kill_at(*moment)
    print("begun", flush=True)
    run.fit()
