"""Where memory is needed, how long it lasts, and what happens to the gradient meanwhile.

    python -m experiments.memory sequence      which number follows these two? half a minute
    python -m experiments.memory span          error against length of the lag
    python -m experiments.memory gradients     the gradient at every step of a film review

Each writes `config.json`, `results.jsonl` and its picture into a new directory.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from experiments.config.cli import Range, UserError, parse, path, run
from experiments.config.settings import Positive
from experiments.runs.directory import OutDir

# Lags. Of adding, two steps in each half; of copy, more than are shown. The states of longer ones
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
    length: Annotated[int, Range(2, 10**4)] = 200
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


def main(args: list[str] | None = None) -> None:
    """Parse and do what was asked for."""
    command: object = parse(Command, args, prog="python -m experiments.memory")  # type: ignore
    match command:
        case Sequence():
            _sequence(command)
        case Span():
            _span(command)
        case Gradients():
            _gradients(command)


def _sequence(settings: Sequence) -> None:
    out = OutDir(settings.out or f"runs/memory-sequence-{settings.cell}-seed{settings.seed}")
    out.check()
    import jax

    import jaxrnn
    from experiments.memory import plots
    from experiments.memory.next_number import feed_forward, recurrent, train
    from experiments.plots import style

    key, cell = jax.random.key(settings.seed), jaxrnn.CELLS[settings.cell]
    name = f"{style.NAMES[settings.cell]}(500)"
    networks = {"feed-forward": feed_forward(key), name: recurrent(key, cell)}
    rows: list[dict[str, Any]] = []
    for network, (weights, predict) in networks.items():
        found = train(
            weights, predict, epochs=settings.epochs,
            learning_rate=settings.learning_rate, seed=settings.seed,
        )  # fmt: skip
        print(f"{network}: {found.parameters:,} parameters, {found.seconds:.1f} s")
        for pair, truth, said in zip(found.pairs, found.truth, found.said, strict=True):
            rows.append(
                {
                    "network": network,
                    "pair": [int(number) for number in pair],
                    "truth": int(truth),
                    "prediction": float(said),
                }
            )
    _table(rows)
    out.create(_config("memory-sequence", settings))
    out.write_rows(rows)
    _picture(plots.sequence(rows), out.path / "sequence.png")


def _table(rows: Iterable[Mapping[str, Any]]) -> None:
    networks = list(dict.fromkeys(row["network"] for row in rows))
    said = {(row["network"], *row["pair"]): row for row in rows}
    print(f"\n{'after':>6}  {'truth':>5}" + "".join(f"  {name:>15}" for name in networks))
    for row in rows:
        if row["network"] == networks[0]:
            a, b = row["pair"]
            numbers = "".join(f"  {said[name, a, b]['prediction']:15.2f}" for name in networks)
            print(f"{f'{a}, {b}':>6}  {row['truth']:>5}{numbers}")
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
    out = OutDir(settings.out or f"runs/memory-span-seed{settings.seed}")
    out.check()
    from experiments.memory import plots
    from experiments.memory.lag import Plan, Row, attempt, verdict
    from experiments.plots.style import NAMES

    plan = Plan(settings.steps, settings.batch_size, settings.units, settings.bias, settings.seed)
    rows: list[Row] = []
    out.create(_config("memory-span", settings))
    for task in dict.fromkeys(settings.tasks):
        for length in sorted(set(settings.lengths)):
            for cell in dict.fromkeys(settings.cells):
                row = attempt(task, cell, length, plan)
                rows.append(row)
                out.write_rows([row._asdict() for row in rows])
                end = "solved" if row.solved else "not solved"
                print(
                    f"{task:<7} lag {length:>4}  {NAMES[cell]:<9}  error {row.error:.4f}  {end} "
                    f"after {row.steps} training steps, {row.seconds:.0f} s", flush=True,
                )  # fmt: skip
        print(f"{task}: {verdict(rows, task)}")
    _picture(plots.span([row._asdict() for row in rows]), out.path / "span.png")


def _gradients(settings: Gradients) -> None:
    out = OutDir(settings.out or f"runs/memory-gradients-seed{settings.seed}")
    out.check()
    from experiments.data.reviews import load_text
    from experiments.runs.directory import RunDir

    for directory in settings.runs:
        RunDir(directory).config()  # a slip of the pen is told before the data are read
    text = load_text(settings.data, settings.data_dir, WORDS, _say)
    from experiments.memory import gradient_plots, gradient_study

    study = gradient_study.Study(
        text, WORDS, settings.runs, settings.length, settings.steps, settings.units, settings.seed
    )
    rows: list[dict[str, Any]] = []
    for row in gradient_study.rows(study, _say):
        if not rows:  # only now is it certain that reviews and runs are as they must be
            out.create(_config("memory-gradients", settings, dataset=text.dataset))
        rows.append(row)
        out.write_rows(rows)
    _picture(gradient_plots.draw(rows, dataset=text.dataset), out.path / "gradients.png")


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


def _say(line: str) -> None:
    print(line, flush=True)


def _picture(figure: Any, to: Path) -> None:
    from experiments.plots.style import save

    save(figure, to)
    print(f"picture: {to}")


if __name__ == "__main__":
    run(main)
