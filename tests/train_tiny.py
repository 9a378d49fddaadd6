"""A training in a process of its own, to be killed: `python tests/train_tiny.py RUN CELL`.

Always the same command; it saves after every second step.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from test_runner import runner

if __name__ == "__main__":
    path, cell = Path(sys.argv[1]), sys.argv[2]
    path.mkdir(exist_ok=True)
    run = runner(
        path, "--resume", "--cell", cell, "--epochs", "12", "--patience", "12",
        "--checkpoint-steps", "2",
    )  # fmt: skip
    print("begun", flush=True)
    run.fit()
