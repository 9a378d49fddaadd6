"""The first signal is a question for the loop; the second one does not wait for an answer."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from experiments.training.signals import watch

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

# A process that hears signals and does nothing about them, as inside a long compiled call.
DEAF = """
import time
from experiments.training.signals import watch
with watch(lambda: "step 7 is not saved") as came:
    print("ready", flush=True)
    end = time.monotonic() + 60
    while not came and time.monotonic() < end: time.sleep(0.01)
    print("heard", flush=True)
    while time.monotonic() < end: sum(range(1000))
"""


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_is_noted_and_the_handlers_come_back(number):
    before = signal.getsignal(number)
    with watch() as came:
        os.kill(os.getpid(), number)
        assert came == [number]
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", NUMBERS)
def test_an_ignored_one_stays_ignored(number):
    """As `nohup` and a shell's `&` have it: a Ctrl-C meant for another is no reason to stop."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with watch() as came:
            os.kill(os.getpid(), number)
            assert came == []
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_thread_gets_none():
    """Only the main thread may ask for signals: `main` of a command is called from any."""
    lists = []

    def call():
        with watch() as came:
            lists.append(came)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert lists == [[]]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_second_ends_the_process_whatever_it_does(number):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", DEAF], **pipes, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == "heard\n"
    begun = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 128 + number
    assert errors.endswith("stopped at once: step 7 is not saved\n")
    asked = "stopping after this step, to save it; once more stops at once"
    assert (asked in errors) == (number == signal.SIGINT)
    # Promised is a second; here any time but that minute, for a machine may be busy.
    assert time.monotonic() - begun < 30
