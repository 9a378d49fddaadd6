"""Keeps the planted bugs plantable; whether tests catch them is asked by hand (tests/mutants)."""

import subprocess
import sys

from root import ROOT


def test_every_bug_can_be_planted():
    command = [sys.executable, "tests/mutants", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
