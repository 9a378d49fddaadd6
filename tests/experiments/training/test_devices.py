"""Training is the same on one device, on several, through pmap and in two processes."""

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from root import ROOT, one_device
from small_run import TEXT, rows
from tables import assert_close

import jaxrnn
from experiments import imdb
from experiments.config.cli import UserError, parse
from experiments.config.imdb import Settings
from experiments.config.settings import Hardware
from experiments.data.batch import Examples
from experiments.models import classifier
from experiments.runs.checkpoint import Checkpoints
from experiments.runs.directory import RunDir
from experiments.training.devices import ONE_DEVICE, Placement, check, start
from experiments.training.loop import Runner, Stopped
from experiments.training.processes import ONE_PROCESS, Processes
from experiments.training.progress import Screen
from experiments.training.step import make_optimizer, make_steps
from jaxrnn import parallel

PLACES = {
    "jit-1": Hardware(devices=1),
    "jit-2": Hardware(devices=2),
    "jit-4": Hardware(devices=4),
    "jit-8": Hardware(devices=8),
    "pmap-1": Hardware(devices=1, pmap=True),
    "pmap-2": Hardware(devices=2, pmap=True),
    "pmap-8": Hardware(pmap=True),
}
FLAGS = ["--units", "4", "--embedding", "3", "--layers", "2", "--max-length", "8", "--batch-size",
         "16", "--word-dropout", "0.2", "--learning-rate", "0.01", "--patience", "100"]  # fmt: skip


def settings(path, *flags):
    return parse(Settings, ["--run-dir", str(path), *FLAGS, *flags])


def fifty_steps(hardware):
    """Parameters, their average and the sums after 50 steps of the small corpus."""
    task = imdb.task(settings("nowhere"), TEXT)
    graphdef, params = nnx.split(task.model)
    # Adam divides by the gradient's size: it shows a rounding of small gradients as no other does.
    optimizer = make_optimizer("adam", optax.cosine_decay_schedule(0.003, 100), clip_norm=1.0)
    steps = make_steps(
        graphdef, optimizer, jax.random.key(0), average=0.9, placement=start(hardware, 16)
    )
    state = steps.init(params)
    for n in range(50):
        # 120 texts: every eighth batch is half empty.
        batch = task.train.train(0, *divmod(n, task.train.steps_per_epoch))
        state, sums = steps.train(state, batch.examples)
    seen = steps.evaluate(state.evaluated, batch.examples)
    return jax.tree.map(np.asarray, (state, sums, seen))


@pytest.fixture(scope="module")
def on_one_device():
    return fifty_steps(Hardware())


# Each compiles for several seconds: in CI most devices and fewest, the others by hand.
OFTEN = ("jit-8", "pmap-8")


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, id=name, marks=() if name in OFTEN else pytest.mark.slow)
        for name, place in list(PLACES.items())[1:]
    ],
)
def test_fifty_steps_are_those_of_one_device(place, on_one_device, record_property):
    """With dropout of words, features, between layers and before the readout."""
    state, sums, seen = fifty_steps(place)
    expected = on_one_device
    pairs = zip(jax.tree.leaves(state.params), jax.tree.leaves(expected[0].params), strict=True)
    record_property("deviation", max(float(np.max(abs(a - b))) for a, b in pairs))
    # Float32 sums over 16 rows in another order, 50 times.
    assert_close(state.params, expected[0].params, 1e-5)
    assert_close(state.average, expected[0].average, 1e-5)
    assert_close((state.totals, sums, seen), (expected[0].totals, *expected[1:]), 1e-4)


@pytest.mark.parametrize("place", list(PLACES.values())[1:], ids=list(PLACES)[1:])
def test_dropout_drops_the_same_bit_for_bit(place):
    """Inputs of ones, no cell: what is left of each feature is the mask."""
    model = classifier.Classifier(
        None, features=64, units=1, dropout=0.5, readout="last", rngs=nnx.Rngs(0)
    )
    model.dense.kernel[...] = jax.numpy.eye(64, 1)
    model.dense.bias[...] = jax.numpy.zeros(1)
    graphdef, params = nnx.split(model)
    placement = start(place, 16)

    def masks(params, examples):
        logits = nnx.merge(graphdef, params)(
            examples.inputs, examples.lengths, jax.random.key(5), placement.axis_name
        )
        # As one number: the rows as bits.
        rows = jax.numpy.arange(len(logits))
        if placement.axis_name is not None:
            rows += jax.lax.axis_index(placement.axis_name) * len(logits)
        bits = jax.numpy.sum(jax.numpy.where(logits[:, 0] != 0, 2**rows, 0))
        return parallel.total(bits, placement.axis_name)

    ones = np.ones(16, np.int32)
    batch = Examples(np.ones((16, 1, 64), np.float32), ones, ones, np.float32(ones))
    found = int(placement.compile(lambda *_: (0, 0), masks)[1](params, batch))
    axis, placement = placement, ONE_DEVICE
    expected = int(masks(params, batch))
    assert found == expected, axis
    assert 0 < expected < 2**16 - 1


def runner(path, hardware, *flags):
    of = settings(path, *flags)
    placement = start(hardware, of.training.batch_size)
    return Runner(imdb.task(of, TEXT), of, RunDir(path), Screen(), placement)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("jit-8", "jit-1"),
        pytest.param("pmap-8", "jit-2", marks=pytest.mark.slow),
        pytest.param("jit-1", "jit-8", marks=pytest.mark.slow),
        pytest.param("jit-2", "pmap-8", marks=pytest.mark.slow),
    ],
)
def test_a_run_stopped_on_some_devices_goes_on_on_others(tmp_path, first, second):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    runner(straight, Hardware(), "--epochs", "2").fit()
    run, asked = runner(stopped, PLACES[first], "--epochs", "2"), []
    make = run.task.train.train

    def train(*which):
        asked.append(which)
        if len(asked) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return make(*which)

    run.task.train.train = train
    assert run.fit() == Stopped(5, signal.SIGTERM)
    runner(stopped, PLACES[second], "--epochs", "2", "--resume").fit()
    compare(stopped, straight)


COUNTS = [("jit-8", "jit-2"), ("jit-8", "jit-4"), ("jit-8", "jit-8"), ("jit-2", "jit-8"),
          ("jit-4", "jit-8"), ("jit-8", "two"), ("two", "jit-8"), ("jit-8", "jit-1"),
          ("jit-1", "jit-8")]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), COUNTS, ids=map("-to-".join, COUNTS))
def test_fifty_steps_after_a_change_of_devices(tmp_path, first, second):
    """Saved at step 6 on some devices, 50 further steps on others, to the end of epoch 7."""
    straight, changed = tmp_path / "straight", tmp_path / "changed"
    runner(straight, Hardware(), "--epochs", "7").fit()
    for place, *more in ((first,), (second, "--resume")):
        flags = ["--epochs", "7", "--checkpoint-steps", "1", *more]
        if place == "two":
            pair = launch(changed, *flags)
            if not more:
                when(lambda: (Checkpoints(changed / "checkpoints").latest() or 0) >= 6, pair)
                pair[0].send_signal(signal.SIGTERM)
            found = {status for status, *_ in ended(pair)}
            assert found == {0 if more else 143}
            continue
        run = runner(changed, PLACES[place], *flags)
        if not more:
            make, asked = run.task.train.train, []

            def train(*which, make=make, asked=asked):
                asked.append(which)
                if len(asked) == 6:
                    os.kill(os.getpid(), signal.SIGTERM)
                return make(*which)

            run.task.train.train = train
        ended_as = run.fit()
        assert isinstance(ended_as, Stopped) != bool(more)
    compare(changed, straight)


def compare(path, other):
    """Two runs agree, but for rounding: rows, summary and the last parameters."""
    for a, b in zip(rows(path), rows(other), strict=True):
        assert a == pytest.approx(b, abs=1e-5)
    a, b = (json.loads((p / "summary.json").read_text()) for p in (path, other))
    del a["seconds"], b["seconds"]
    assert a.pop("classes") == b.pop("classes")
    assert a == pytest.approx(b, abs=1e-5)
    assert_close(last_params(path), last_params(other), 1e-5)


def last_params(path):
    of = settings(path)
    params = nnx.split(imdb.task(of, TEXT).model)[1]
    checkpoints = Checkpoints(path / "checkpoints")
    return checkpoints.restore(checkpoints.latest(), {"params": params}, part=True)[0]


def test_config_names_the_devices_that_are_used(tmp_path):
    for name, count in (("jit-1", 1), ("jit-2", 2), ("pmap-8", 8)):
        assert start(PLACES[name], 16).names() == ["cpu: cpu"] * count


# --- several processes -----------------------------------------------------------------------


def launch(path, *flags):
    """Two processes on this machine, each with one device."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = one_device() | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return [
        subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "helpers" / "one_process.py"),
             "--run-dir", str(path), *FLAGS, *flags, "--coordinator", address,
             "--processes", "2", "--process-id", str(process)],
            cwd=path.parent, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for process in range(2)
    ]  # fmt: skip


def ended(processes, seconds=600):
    """Exit status, output and errors of each."""
    found = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=seconds)
            found.append((process.returncode, out, err))
    finally:
        for process in processes:
            process.kill()
    return found


def when(condition, processes, seconds=600):
    """Wait until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end or any(process.poll() is not None for process in processes):
            raise AssertionError(ended(processes, 5))
        time.sleep(0.05)


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """Left alone; and stopped by a signal to one of them, killed, and finished by one process."""
    alone, pair = tmp_path / "alone", tmp_path / "pair"
    runner(alone, Hardware(), "--epochs", "7").fit()
    (status, out, err), (other_status, other_out, _) = ended(launch(pair, "--epochs", "7"))
    assert (status, other_status) == (0, 0), err
    assert "best epoch" in out
    said = [line for line in other_out.splitlines() if not line.startswith("[Gloo]")]
    assert said == [], "only the first process speaks"
    compare(pair, alone)  # 56 steps


def test_a_signal_to_one_process_stops_both_and_a_lost_one_ends_the_other(tmp_path):
    path, checkpoints = tmp_path / "run", Checkpoints(tmp_path / "run" / "checkpoints")
    flags = ["--epochs", "1000", "--patience", "1000", "--checkpoint-minutes", "0.01"]
    pair = launch(path, *flags)
    when(lambda: checkpoints.latest(), pair)
    pair[1].send_signal(signal.SIGTERM)
    (status, out, err), (other_status, *_) = ended(pair)
    assert (status, other_status) == (143, 143), err
    step = int(re.search(r"stopped and saved at step ([\d,]+)", out)[1].replace(",", ""))
    assert checkpoints.latest() == step
    pair = launch(path, *flags, "--resume")
    when(lambda: checkpoints.latest() > step, pair)
    pair[1].kill()
    begun = time.monotonic()
    status, out, err = ended(pair[:1])[0]
    ended(pair[1:])
    assert status == 1
    assert "error: process 0 of 2 has lost another one" in err
    assert time.monotonic() - begun < 60
    assert Checkpoints(path / "checkpoints").latest() > step
    # Both again, by the same command: they go on from what was saved, to a signal.
    step = Checkpoints(path / "checkpoints").latest()
    pair = launch(path, *flags, "--resume")
    when(lambda: checkpoints.latest() > step, pair)
    pair[0].send_signal(signal.SIGTERM)
    (status, out, err), (other_status, *_) = ended(pair)
    assert (status, other_status) == (143, 143), err
    assert f"Continuing at step {step:,}." in out


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (jax.errors.JaxRuntimeError("UNKNOWN: Gloo AllGather failed"), "error: process 1 of 2 has"),
        (ValueError("UNKNOWN: Gloo AllGather failed"), "error: process 1 of 2 has lost another"),
        (ValueError("shapes differ"), "Traceback"),
    ],
)
def test_a_lost_process_is_told_from_a_mistake(error, said, capfd, monkeypatch):
    """Jax raises the same failure of a sum as one or the other type: which, depends on timing."""
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with Processes(2, 1).together():
        raise error
    assert codes == [1]
    assert said in capfd.readouterr().err


def test_a_mistake_of_the_first_process_is_said_before_it_joins(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "love.txt").write_text("dear")
    pair = launch(tmp_path / "run", "--resume")
    status, _, err = ended(pair[:1])[0]
    pair[1].kill()
    ended(pair[1:])
    assert (status, err.count("\n")) == (2, 1)
    assert "holds other files; name an empty or a new directory" in err


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--devices", "3"], "--batch-size is 16, which 3 devices do not divide; give a multiple"),
        (["--devices", "16"], r"there are 8 \(cpu\). More are simulated .*device_count=16"),
        (["--devices", "0"], "--devices is 0; give a number at least 1"),
        (["--processes", "2"], "need --coordinator HOST:PORT"),
        (["--process-id", "1"], "need --coordinator HOST:PORT"),
        (["--coordinator", "a:1"], "--coordinator a:1 joins several processes; give --processes"),
        (["--coordinator", "a:1", "--processes", "2", "--process-id", "2"],
         "--process-id is 2; with --processes 2 give 0 to 1"),
        (["--coordinator", "here", "--processes", "2"], "--coordinator is here; give HOST:PORT"),
        (["--coordinator", "a:1", "--processes", "2", "--pmap"], "--pmap runs in one process"),
        (["--coordinator", "a:1", "--processes", "3", "--devices", "4"],
         "--devices is 4; give a multiple of --processes 3"),
    ],
)  # fmt: skip
def test_bad_flags_are_one_line(tmp_path, flags, message):
    with pytest.raises(UserError, match=message) as caught:
        imdb.main(["--run-dir", str(tmp_path / "run"), "--batch-size", "16", *flags])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_the_leader_cannot_read_is_an_error_for_all():
    def fail():
        raise UserError("no checkpoint")

    with pytest.raises(UserError, match="no checkpoint"):
        ONE_PROCESS.shared(fail)
    assert ONE_PROCESS.shared(lambda: None) is None
    assert ONE_PROCESS.largest(15) == 15


def test_good_flags_pass():
    for hardware in (*PLACES.values(), Hardware(coordinator="[::1]:80", processes=4, devices=8)):
        check(hardware, 16)
    check(dataclasses.replace(PLACES["jit-8"], devices=5), 20)
    assert start(Hardware(), 7) == Placement()
    assert jaxrnn.parallel is parallel
