"""Shows where memory is needed, how long it lasts, and what happens to the gradient meanwhile.

    python -m experiments.memory sequence      which number follows these two? half a minute
    python -m experiments.memory span          error against length of the lag
    python -m experiments.memory gradients     the gradient at every step of a film review

Each writes `config.json`, `results.jsonl` and its picture into a new directory.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import tyro

from experiments.config.cli import Range, UserError, parse, path, run
from experiments.config.settings import Positive
from experiments.runs.directory import OutDir

# Lags: adding needs two steps in each half, copy more than are shown. The states of longer ones
# fill the memory.
SHORTEST, LONGEST = 4, 10_000
WORDS = 10_000  # ids, as `experiments.imdb` has by default
Cell = Literal["rnn", "lstm", "gru"]
Seed = Annotated[int, Range(0, 2**31 - 1)]


@dataclasses.dataclass(frozen=True)
class Sequence:
    """Which number follows these two? A recurrent network against a feed-forward one.

    Of 1 3 5 2 4 9 7 6 8 each pair of neighbours asks for the next number.
    """

    cell: Cell = "rnn"
    """Recurrent cell: SimpleRNN, LSTM or GRU, with 500 units."""
    epochs: Annotated[int, Range(1, 100000)] = 200
    """Passes over the seven pairs, one pair a step."""
    learning_rate: Annotated[float, Positive] = 0.01
    """Adam's, at its beginning; it falls to zero as a cosine."""
    seed: Seed = 0
    """Decides the first weights and the order of the pairs."""
    out: Annotated[str | None, path("runs/memory-sequence-CELL-seedSEED")] = None
    """Directory for the results."""


@dataclasses.dataclass(frozen=True)
class Span:
    """How long is the memory? Error against the number of steps in between, for each cell.

    adding: the sum of two marked numbers out of LENGTH. copy: three symbols, each asked for
    exactly LENGTH steps after it was shown.
    """

    tasks: tuple[Literal["adding", "copy"], ...] = ("adding", "copy")
    """What is asked."""
    cells: tuple[Cell, ...] = ("rnn", "lstm", "gru")
    """Recurrent cells."""
    lengths: tuple[int, ...] = (10, 30, 100, 300, 1000)
    """Steps that have to be bridged."""
    steps: Annotated[int, Range(1, 10**6)] = 800
    """Training steps for each attempt, at most: it ends as soon as the length is solved."""
    batch_size: Annotated[int, Range(1, 65536)] = 64
    """Sequences in one step."""
    units: Annotated[int, Range(1, 16384)] = 64
    """Width of the state."""
    bias: Literal["chrono", "plain"] = "chrono"
    """What the gates that keep begin with. chrono: lags up to LENGTH (Tallec and Ollivier, 2018);
    plain: 1 for the LSTM, 0 for the GRU. SimpleRNN has no gate; its matrix is orthogonal."""
    seed: Seed = 0
    """Decides the first weights and the sequences."""
    out: Annotated[str | None, path("runs/memory-span-seedSEED")] = None
    """Directory for the results."""


@dataclasses.dataclass(frozen=True)
class Gradients:
    """Where does the gradient go? The norm of d loss / d h_t for every step of film reviews."""

    runs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN...")] = ()
    """Directories of finished runs of `experiments.imdb`; networks are trained briefly if none."""
    data: Literal["auto", "tfds", "sample"] = "auto"
    """As for `experiments.imdb`."""
    data_dir: Annotated[str | None, path("TFDS's own")] = None
    """TFDS's data_dir."""
    steps: Annotated[int, Range(1, 10**6)] = 300
    """Training steps of each network that is trained here."""
    length: Annotated[
        int | None, Range(2, 10**4), path("200, less where reviews are short", metavar="INT")
    ] = None
    """Words: the last ones of reviews that have at least so many."""
    units: Annotated[int, Range(1, 4096)] = 32
    """Width of the state of the networks that are made here."""
    seed: Seed = 0
    """Decides the first weights and the order of the reviews."""
    out: Annotated[str | None, path("runs/memory-gradients-seedSEED")] = None
    """Directory for the results."""


Command = (
    Annotated[Sequence, tyro.conf.subcommand("sequence")]
    | Annotated[Span, tyro.conf.subcommand("span")]
    | Annotated[Gradients, tyro.conf.subcommand("gradients")]
)


say = functools.partial(print, flush=True)


def main(args: list[str] | None = None) -> None:
    """Parse and do what was asked for."""
    command: Any = parse(Command, args, prog="python -m experiments.memory")  # type: ignore
    do: dict[type, Any] = {Sequence: _sequence, Span: _span, Gradients: _gradients}
    do[type(command)](command)


def _sequence(settings: Sequence) -> None:
    out = _out(settings, f"sequence-{settings.cell}")
    import jax

    import jaxrnn
    from experiments.memory import plots
    from experiments.memory.next_number import feed_forward, recurrent, train
    from experiments.plots.style import NAMES, save

    key, cell = jax.random.key(settings.seed), jaxrnn.CELLS[settings.cell]
    name = f"{NAMES[settings.cell]}(500)"
    networks = {"feed-forward": feed_forward(key), name: recurrent(key, cell)}
    plan = {name: getattr(settings, name) for name in ("epochs", "learning_rate", "seed")}
    rows: list[dict[str, Any]] = []
    for network, (weights, predict) in networks.items():
        answers = train(weights, predict, **plan)
        say(f"{network}: {answers.parameters:,} parameters, {answers.seconds:.1f} s")
        numbers = (answers.pairs.tolist(), answers.truth.tolist(), answers.predictions.tolist())
        for pair, truth, prediction in zip(*numbers, strict=True):
            row = {"network": network, "pair": [int(number) for number in pair]}
            rows.append({**row, "truth": int(truth), "prediction": prediction})
    _table(plots.by(rows, "network"))
    out.create(_config("memory-sequence", settings))
    out.write_rows(rows)
    save(plots.sequence(rows), out.path / "sequence.png")
    say(f"picture: {out.path / 'sequence.png'}")


def _table(networks: Mapping[str, list[Mapping[str, Any]]]) -> None:
    print(f"\n{'after':>6}  {'truth':>5}" + "".join(f"  {name:>15}" for name in networks))
    for first, *others in zip(*networks.values(), strict=True):
        pair = "{}, {}".format(*first["pair"])
        numbers = "".join(f"  {row['prediction']:15.2f}" for row in (first, *others))
        print(f"{pair:>6}  {first['truth']:>5}{numbers}")
    print()


def _span(settings: Span) -> None:
    for name in ("tasks", "cells", "lengths"):
        if not getattr(settings, name):
            raise UserError(f"--{name} is empty; give at least one")
    for length in settings.lengths:
        if not SHORTEST <= length <= LONGEST:
            raise UserError(
                f"--lengths holds {length}; give numbers at least {SHORTEST} and at most {LONGEST}"
            )
    out = _out(settings, "span")
    from experiments.memory import lag, plots
    from experiments.plots.style import NAMES, save

    parts = [getattr(settings, name) for name in lag.Plan._fields]
    rows: list[lag.Row] = []
    out.create(_config("memory-span", settings))
    for task in dict.fromkeys(settings.tasks):
        lengths, cells = sorted(set(settings.lengths)), dict.fromkeys(settings.cells)
        for length, cell in itertools.product(lengths, cells):
            row = lag.attempt(task, cell, length, lag.Plan(*parts))
            rows.append(row)
            out.write_rows([row._asdict() for row in rows])
            end = "solved" if row.solved else "not solved"
            what = f"{task:<7} lag {length:>4}  {NAMES[cell]:<9}  error {row.error:.4f}  {end}"
            say(f"{what} after {row.steps} training steps, {row.seconds:.0f} s")
        say(f"{task}: {lag.verdict(rows, task)}")
    save(plots.span([row._asdict() for row in rows]), out.path / "span.png")
    say(f"picture: {out.path / 'span.png'}")


def _gradients(settings: Gradients) -> None:
    out = _out(settings, "gradients")
    from experiments.data.reviews import load_text
    from experiments.plots.style import save
    from experiments.runs.directory import RunDir

    for directory in settings.runs:
        RunDir(directory).config()  # a mistyped name is told before the data are read
    text = load_text(settings.data, settings.data_dir, WORDS, say)
    from experiments.memory import gradient_plots, gradient_study, gradients

    length = settings.length or gradients.usual_length(text.train, text.test)
    if settings.length is None and length < gradients.LENGTH:
        say(f"--length is {length}, which a quarter of these reviews reach")
    settings = dataclasses.replace(settings, length=length)
    parts = (length, settings.steps, settings.units, settings.seed)
    study = gradient_study.Study(text, WORDS, settings.runs, *parts)
    rows: list[dict[str, Any]] = []
    for row in gradient_study.rows(study, say):
        if not rows:  # only now is it certain that reviews and runs are as they must be
            out.create(_config("memory-gradients", settings, dataset=text.dataset))
        rows.append(row)
        out.write_rows(rows)
    save(gradient_plots.draw(rows, dataset=text.dataset), out.path / "gradients.png")
    say(f"picture: {out.path / 'gradients.png'}")


def _out(settings: Any, name: str) -> OutDir:
    """The directory for the results; `UserError` where they would stand among others."""
    out = OutDir(settings.out or f"runs/memory-{name}-seed{settings.seed}")
    out.check()
    return out


def _config(task: str, settings: Any, **more: Any) -> dict[str, Any]:
    import jax

    from experiments.runs.environment import machine, versions

    return {
        "task": task,
        **more,
        "settings": dataclasses.asdict(settings),
        "versions": versions(),
        "machine": machine(),
        "devices": [f"{device.platform}: {device.device_kind}" for device in jax.devices()],
    }


if __name__ == "__main__":
    run(main)
