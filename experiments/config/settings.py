"""Declares the settings that experiments share, one dataclass for each group of `--help`.

Every number carries the `Range` it may have; `cli.parse` checks them all.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import tyro

from experiments.config.cli import Range, UserError, checked, flag, path

Settings = TypeVar("Settings")

Positive = Range(0, open_low=True)
Share = Range(0, 1, open_high=True)


# What the short `--help` of a training shows.
COMMON = (
    *("cell", "units", "layers", "bidirectional", "dropout"),
    *("batch_size", "epochs", "optimizer", "learning_rate", "seed"),
    *("run_dir", "resume", "devices"),
)


@dataclasses.dataclass(frozen=True)
class Model:
    """The network."""

    cell: Literal["rnn", "lstm", "gru", "none"] = "lstm"
    """Recurrent cell: SimpleRNN, LSTM or GRU; with none, the inputs themselves are read out."""
    units: Annotated[int, Range(1, 16384)] = 32
    """Width of the state of each layer and direction."""
    layers: Annotated[int, Range(1, 64)] = 1
    """Recurrent layers on top of each other."""
    bidirectional: bool = False
    """Also run each layer from the end to the beginning."""
    readout: Literal["last", "mean", "max", "mean-max"] = "mean"
    """What of the states answers: the last one, their mean or maximum over the valid steps,
    or both of these side by side."""
    hidden: Annotated[int, Range(0, 16384)] = 0
    """Width of a dense layer with ReLU after the readout; 0 for none."""
    members: Annotated[int, Range(1, 64)] = 1
    """Networks trained side by side on the same batches; the mean of their logits answers."""
    dropout: Annotated[float, Share] = 0.0
    """Share dropped of the features of the embedding, between layers and of the readout; and of
    word pairs."""
    word_dropout: Annotated[float, Share] = 0.0
    """Share of words dropped: their whole embedding becomes zero."""


@dataclasses.dataclass(frozen=True)
class Training:
    """How it is trained."""

    batch_size: Annotated[int, Range(1, 65536)] = 128
    """Examples in one step."""
    epochs: Annotated[int, Range(1, 100000)] = 10
    """Passes over the training part, at most."""
    optimizer: Literal["rmsprop", "adam", "adamw", "sgd"] = "rmsprop"
    """Which optimizer of optax."""
    learning_rate: Annotated[float, Range(0, 100, open_low=True)] = 0.001
    """Step size, at its highest."""
    epsilon: Annotated[float, Range(0, 1, open_low=True)] = 1e-7
    """Added to the root of the second moment (rmsprop: under it). What is rare has a small one and
    hence takes large steps; with 1e-4, adam does not learn it by heart."""
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    """How the learning rate falls to zero over all epochs; constant: not at all."""
    clip_norm: Annotated[float, Positive] = 1.0
    """Gradients whose norm over all parameters is larger are scaled down to it."""
    weight_decay: Annotated[float, Range(0, 10)] = 0.0
    """Decoupled weight decay; only adamw has it."""
    loss: Literal["cross-entropy", "sigmoid-twice"] = "cross-entropy"
    """sigmoid-twice repeats a mistake that tutorials make: a sigmoid in the model and one in the
    loss. It cannot fall below 0.503, and hardly learns."""
    average: Annotated[float, Share] = 0.0
    """Decay of a moving average of the weights, which is then what is evaluated and kept."""
    label_smoothing: Annotated[float, Share] = 0.0
    """Share of the right label that is given to all labels alike."""
    on_nan: Literal["stop", "skip"] = "stop"
    """Where loss or gradient is not finite: stop and say why, or leave that batch out."""
    max_skipped: Annotated[int, Range(0, 10**6)] = 10
    """With --on-nan skip, stop after all when more batches than this were left out."""
    patience: Annotated[int, Range(1, 100000)] = 3
    """Stop after so many epochs without a better validation accuracy."""
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    """Decides the validation split, the first weights, the order of examples and the dropout."""


@dataclasses.dataclass(frozen=True)
class Run:
    """Where the results go."""

    run_dir: Annotated[str | None, path("runs/TASK-CELL-seedSEED")] = None
    """Directory of the run."""
    resume: bool = False
    """Continue the run in this directory where it stopped, or begin it there. --resume RUN alone
    continues that run with its own settings and data."""
    init_from: Annotated[str | None, path("weights drawn at random", metavar="RUN")] = None
    """Begin a new run with the weights of another one, of the same network."""
    seeds: Annotated[str | None, path("one, --seed", metavar="SEED,SEED,...")] = None
    """Train with each of these seeds in turn, such as 0,1,2, and report them together; each run
    has its seed at the end of its directory's name."""
    log: Annotated[
        Literal["tensorboard"] | None, path("the files of the run only", metavar="{tensorboard}")
    ] = None
    """Also write losses, accuracies, learning rate, gradient norm and confusion matrix for it."""
    debug_nans: bool = False
    """Let JAX look for the operation that makes the first NaN; slow."""
    checkpoint_steps: Annotated[int | None, Range(1), path("every epoch", metavar="INT")] = None
    """Also save within an epoch after every so many steps."""
    checkpoint_minutes: Annotated[float, Positive] = 10.0
    """Also save within an epoch whenever so many minutes have gone by."""


@dataclasses.dataclass(frozen=True)
class Hardware:
    """Where it is computed; this changes nothing of the results but rounding."""

    devices: Annotated[int | None, Range(1, 2**20), path("one", metavar="INT")] = None
    """Devices that share each batch; with --pmap or --processes, all there are by default."""
    pmap: bool = False
    """Train through jax.pmap instead of jit."""
    coordinator: Annotated[str | None, path("none", metavar="HOST:PORT")] = None
    """Address of process 0, for a run of several processes."""
    processes: Annotated[int, Range(1, 2**20)] = 1
    """How many processes take part, each started with the same arguments but --process-id."""
    process_id: Annotated[int, Range(0, 2**20)] = 0
    """Which of them this is; process 0 writes."""


# For a dataclass of groups: flags have the field's own name, without the group in front of it.
flat = tyro.conf.configure(tyro.conf.OmitArgPrefixes)


def flatten(settings: Any) -> dict[str, Any]:
    """Return all fields in one dictionary, those of groups too: the `settings` of a config.json."""
    fields: dict[str, Any] = {}
    for name, value in dataclasses.asdict(settings).items():
        fields |= value if isinstance(value, dict) else {name: value}
    return fields


# Settings that a run may lack because it was trained before they existed: then they were off.
ADDED_LATER = {"hidden", "members", "bigrams", "test_data", "test_fraction", "embeddings"}


def unflatten(kind: type[Settings], fields: Mapping[str, Any], base: Settings | None) -> Settings:
    """Build settings of `kind` from what `flatten` gave, held to the bounds of the command line.

    Args:
        kind: a dataclass of groups of settings.
        fields: settings by name, from anywhere.
        base: gives what `fields` lacks. Without it, the network and the data must be described
            completely, and the rest takes the values of its group.

    Raises:
        UserError: a name that is no setting, a value of another type or out of bounds; a setting
            that is missing.
    """
    unknown = fields.keys() - flatten(kind()).keys()
    if unknown:
        raise UserError(f"{flag(min(unknown))} is no setting; delete it")
    groups: dict[str, Any] = {}
    for group in dataclasses.fields(kind):  # type: ignore[arg-type]
        default: Any = getattr(kind() if base is None else base, group.name)
        if not dataclasses.is_dataclass(default):
            groups[group.name] = checked(kind, group.name, fields.get(group.name, default))
            continue
        settings: Any = type(default)
        names = [field.name for field in dataclasses.fields(settings)]
        given = {name: checked(settings, name, fields[name]) for name in names if name in fields}
        required = base is None and settings not in (Training, Run, Hardware)
        for name in names if required else ():
            if name not in given and name not in ADDED_LATER | {"data", "data_dir"}:
                raise UserError(f"the setting {name!r} is missing")
        if base is not None:
            given = {name: getattr(default, name) for name in names} | given
        groups[group.name] = settings(**given)
    return kind(**groups)


def shown(flat_settings: dict[str, Any]) -> dict[str, Any]:
    """Those that a run's card lists: what is computed, not where."""
    where = {field.name for group in (Run, Hardware) for field in dataclasses.fields(group)}
    return {
        name: value
        for name, value in flat_settings.items()
        if name not in where | {"data", "data_dir"} and value is not None
    }
