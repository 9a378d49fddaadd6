"""Times recurrent layers, training steps and epochs, ours and other libraries'.

    python -m experiments.benchmark layer
    python -m experiments.benchmark layer --sizes 64,256,128,128 --cells lstm --engines scan
    python -m experiments.benchmark step
    python -m experiments.benchmark epoch --data-dir ~/tensorflow_datasets

Each library lives in a process of its own and gets the same weights, data and threads; results
are compared before anything is timed; turns alternate. Exit status 1 where a library computed
something else.
"""

import dataclasses
import importlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from experiments.config.cli import Range, UserError, flag, parse, path, run
from experiments.runs.environment import cores, machine, versions
from experiments.storage.files import base, write_text

PEERS = ("lax.scan", "flax", "keras-jax", "keras-tf", "torch")
SCRIPTS = ("jaxrnn", "keras-tf", "keras-jax", "torch-packed", "torch-padded")
SIZES = ("500,128,32,32", "80,1024,100,64", "28,32,28,128", "100,64,512,512")
PACKAGES = (
    *("jaxrnn", "jax", "jaxlib", "flax", "keras"),
    *("tensorflow", "tensorflow-cpu", "torch", "numpy"),
)
Names = tyro.conf.arg(metavar="NAME")
Out = Annotated[str | None, path("the screen only", metavar="NAME")]
Threads = Annotated[int | None, Range(1), path("all cores", metavar="INT")]


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer, forward and forward with backward, at several sizes."""

    sizes: Annotated[tuple[str, ...], tyro.conf.arg(metavar="T,B,D,H")] = SIZES
    """Steps, batch, features, units of each layer; they are named A, B, C and so on."""
    odd: bool = False
    """Five more sizes that are no multiples of anything."""
    grid: bool = False
    """44 sizes in place of those, from 1 step of 1 row to 1000 steps, of 32 to 1024 units."""
    cells: tuple[Literal["rnn", "lstm", "gru"], ...] = ("lstm", "gru", "rnn")
    """Which cells."""
    engines: Annotated[tuple[str, ...], path("all there are", metavar="NAME")] = ()
    """Of jaxrnn.engines, or default for the one that unroll takes; the picture is of the first."""
    peers: Annotated[tuple[str, ...], Names] = PEERS
    """The libraries to compare with."""
    repetitions: Annotated[int, Range(1, 10**4)] = 15
    """Turns of each library at each layer."""
    threads: Threads = None
    """Threads of every library."""
    square: Annotated[int, Range(1, 16384)] = 1024
    """Rows and columns of the product that measures the machine."""
    copied: Annotated[int, Range(1, 10**5)] = 128
    """MiB copied to measure memory; more than the caches hold."""
    out: Out = None
    """Write NAME.md, NAME.json and NAME.png."""


@dataclasses.dataclass(frozen=True)
class Step:
    """A training step of the IMDB model: LSTM(32) on 500 words of 32 features, Adam."""

    peers: Annotated[tuple[str, ...], Names] = ("keras-jax", "keras-tf", "torch")
    """The libraries to compare with."""
    batch_size: Annotated[int, Range(1, 65536)] = 128
    """Reviews in a step."""
    steps: Annotated[int, Range(1, 10**5)] = 500
    """Words of each review."""
    units: Annotated[int, Range(1, 16384)] = 32
    """Units of the LSTM."""
    repetitions: Annotated[int, Range(1, 10**4)] = 15
    """Turns of each library."""
    threads: Threads = None
    """Threads of every library."""
    out: Out = None
    """Write NAME.md and NAME.json."""


@dataclasses.dataclass(frozen=True)
class Epoch:
    """Seconds of an epoch of IMDB: our command, and scripts as the other libraries teach them."""

    data_dir: Annotated[str | None, path("TFDS's own")] = None
    """TFDS's data_dir."""
    data: Literal["tfds", "sample"] = "tfds"
    """IMDB, or the built-in sample."""
    scripts: Annotated[tuple[str, ...], Names] = SCRIPTS
    """What to run."""
    epochs: Annotated[int, Range(1, 1000)] = 3
    """Epochs of each run; the first one compiles and is reported apart."""
    repetitions: Annotated[int, Range(1, 100)] = 1
    """Runs of each script, in turns."""
    threads: Threads = None
    """Threads of every library."""
    out: Out = None
    """Write NAME.md and NAME.json."""


Command = (
    Annotated[Layer, tyro.conf.subcommand("layer")]
    | Annotated[Step, tyro.conf.subcommand("step")]
    | Annotated[Epoch, tyro.conf.subcommand("epoch")]
)


def say(line: str) -> None:
    """Print a line about progress, apart from the table."""
    print(line, file=sys.stderr, flush=True)


def line(settings: Any) -> str:
    """The command that measures this again, without the places of a machine."""
    words = ["python -m experiments.benchmark", type(settings).__name__.lower()]
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name in ("out", "data_dir") or value == field.default:
            continue
        values = value if isinstance(value, tuple) else () if value is True else (value,)
        words += [flag(field.name), *map(str, values)]
    return " ".join(words)


def main(args: list[str] | None = None) -> int:
    """Measure, print the table, write what `--out` asks for."""
    settings: Any = parse(Command, args, prog="python -m experiments.benchmark")  # type: ignore
    threads = settings.threads or cores()
    if threads > cores():
        raise UserError(f"--threads is {threads}; this process may use {cores()} cores")
    if settings.out is not None:
        base("--out", settings.out)
    what = {Layer: "layer", Step: "step", Epoch: "epoch"}[type(settings)]
    # Imported after parsing, so that `--help` and mistakes answer at once.
    measured = importlib.import_module(f"experiments.benchmark.{what}")
    record = {
        "command": what,
        "line": line(settings),
        "settings": dataclasses.asdict(settings) | {"threads": threads},
        "machine": machine(),
        "versions": versions(PACKAGES),
    } | measured.command(settings, threads, say)
    report = importlib.import_module("experiments.benchmark.report")
    if settings.out is not None:
        out = Path(settings.out)
        write_text(out.with_name(f"{out.name}.json"), json.dumps(record, indent=1) + "\n")
        write_text(out.with_name(f"{out.name}.md"), report.markdown(record))
        if what == "layer":
            plots = importlib.import_module("experiments.benchmark.plots")
            plots.save(plots.picture(record), out.with_name(f"{out.name}.png"))
    print(report.screen(record))
    return 1 if record["disagreeing"] else 0


if __name__ == "__main__":
    run(main)
