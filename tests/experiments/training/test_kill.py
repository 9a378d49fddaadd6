"""Kills a training anywhere: the same command ends it as if nothing had been."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from root import ROOT, one_device

TRAIN = [sys.executable, str(ROOT / "tests" / "helpers" / "train_tiny.py")]


def start(path, cell, epochs, *moment):
    return subprocess.Popen(
        [*TRAIN, str(path), cell, str(epochs), *moment],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=one_device(),  # and the compile cache of all tests: imports and reading
    )


def finish(path, cell, epochs):
    process = start(path, cell, epochs)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def ending(path):
    """Digests of every array of the last checkpoint, and the rows without their seconds."""
    steps = [p for p in path.glob("checkpoints/*") if p.name.isdigit()]
    newest = max(steps, key=lambda p: int(p.name))
    arrays = json.loads((newest / "manifest.json").read_text())["arrays"]
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((path / "summary.json").read_text())
    for row in (*rows, summary):
        del row["seconds"]
    return newest.name, arrays, rows, summary


def killed(path, cell, kills, seed):
    """Kill the training at random moments of what it does, as often as asked; then let it end."""
    rng, done, longest = random.Random(seed), 0, 4.0
    while done < kills:
        process = start(path, cell, 12)
        begun = process.stdout.readline()
        assert begun == "begun\n", process.stderr.read()
        time.sleep(rng.uniform(0, longest))
        if process.poll() is not None:
            # It has ended before: begin anew, and be quicker.
            _, err = process.communicate()
            assert process.returncode == 0, err
            for left in sorted(path.rglob("*"), reverse=True):
                left.rmdir() if left.is_dir() else left.unlink()
            longest *= 0.7
            continue
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        done += 1
    finish(path, cell, 12)
    return done


# A step appears as "2" and is moved to "tmp-2" before it is deleted. The three others leave what
# one of these four leaves, or an empty directory.
MOMENTS = [("after", "2"), ("before", "tmp-2"), ("after", "metrics.jsonl"),
           ("before", "summary.json")]  # fmt: skip
OTHERS = [("before", "config.json"), ("before", "metrics.jsonl"), ("before", "curves.png")]


@pytest.mark.parametrize(
    "moments", [MOMENTS, pytest.param(OTHERS, marks=pytest.mark.slow)], ids=["four", "others"]
)
def test_killed_at_each_write(tmp_path, moments):
    finish(tmp_path / "whole", "rnn", 3)
    for moment in moments:
        process = start(tmp_path / "killed", "rnn", 3, *moment)
        _, errors = process.communicate(timeout=300)
        assert (process.returncode, errors) == (-signal.SIGKILL, ""), moment
    finish(tmp_path / "killed", "rnn", 3)
    assert ending(tmp_path / "killed") == ending(tmp_path / "whole")
    left = {path.name for path in (tmp_path / "killed").iterdir()}
    assert left == {path.name for path in (tmp_path / "whole").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_killed_at_twenty_random_moments(tmp_path, cell):
    finish(tmp_path / "whole", cell, 12)
    assert killed(tmp_path / "killed", cell, 20, seed=1) == 20
    assert ending(tmp_path / "killed") == ending(tmp_path / "whole")
