"""Asks a trained run about a text or a picture of your own.

python -m experiments.predict runs/imdb-gru-seed0 "A film that I shall not forget."
python -m experiments.predict runs/imdb-gru-seed0 --file review.txt
python -m experiments.predict runs/imdb-gru-seed0 --lines reviews.txt --format csv
echo "Never again." | python -m experiments.predict runs/imdb-gru-seed0
python -m experiments.predict runs/mnist-rows-lstm-seed0 digit.png
python -m experiments.predict runs/imdb-gru-seed0 --file review.txt --explain
"""

import contextlib
import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments.config.cli import UserError, parse, path, run
from experiments.predict.table import Format, written
from experiments.runs.directory import RunDir

if TYPE_CHECKING:
    from experiments.predict.explain import Rows, Words


@dataclasses.dataclass(frozen=True)
class Settings:
    """Ask a trained run: about a text, or about a picture of a digit.

    example: python -m experiments.predict runs/imdb-gru-seed0 "A film that I shall not forget."
    """

    run_dir: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]
    """Directory of a run of `experiments.imdb` or `experiments.mnist`."""
    about: Annotated[
        tuple[str, ...], tyro.conf.Positional, path("standard input", metavar="[TEXT|PICTURE ...]")
    ] = ()
    """The text, or the file of the picture; several are answered in a table. - is standard
    input."""
    file: Annotated[str | None, path("none", metavar="FILE")] = None
    """Read the text, in UTF-8, or the picture from this file."""
    lines: Annotated[str | None, path("none", metavar="FILE")] = None
    """Answer each line of this file as a text of its own."""
    format: Format = "table"
    """How answers are written; csv and json are for programs."""
    explain: bool = False
    """Show how the answer moved, word by word or row by row, here and as a picture."""
    out: Annotated[str | None, path("explain.png in RUN_DIR", metavar="PNG")] = None
    """Where the picture of --explain goes; what is there is replaced."""


def main(args: list[str] | None = None) -> None:
    """Answer on standard output; whatever makes an answer doubtful goes to standard error."""
    settings = parse(Settings, args, prog="python -m experiments.predict")
    about, file = settings.about, settings.file
    directory = RunDir(settings.run_dir)
    config = directory.config()
    if about == ("-",):
        about = ()
    given = (["a text or picture"] if about else []) + (["--file"] if file is not None else [])
    given += ["--lines"] if settings.lines is not None else []
    if len(given) > 1:
        raise UserError(f"{given[-1]} and {given[0]} are both given; give one of them")
    if settings.out is not None and not settings.explain:
        raise UserError("--out is where --explain draws to; add --explain, or leave it out")
    several = len(about) > 1 or settings.lines is not None or settings.format != "table"
    if settings.explain and several:
        raise UserError("--explain is for one text or picture, on the screen; give one")
    to = _picture(directory, settings) if settings.explain else None
    one = about[0] if about else None
    match config.get("task"):
        case "imdb":
            from experiments.predict import text

            for name in about:
                _hint(name)
            if several:
                if settings.lines is not None:
                    texts = text.lines(settings.lines)
                else:
                    asked = about or [text.read(file)]
                    texts = {f"text {n}": one for n, one in enumerate(asked, 1)}
                print(written(text.answers(directory, texts), settings.format))
            elif to is None:
                print(text.answer(directory, one, file))
            else:
                _show(text.explain(directory, one, file), config, to)
        case "mnist":
            from experiments.predict import image

            if settings.lines is not None:
                raise UserError("--lines is for texts; name the pictures themselves")
            if several:
                print(written(image.answers(directory, about or [file]), settings.format))
            elif to is None:
                print(image.answer(directory, file if one is None else one))
            else:
                _show(image.explain(directory, file if one is None else one), config, to)
        case other:
            raise UserError(f"{directory.path} is a run of {other}, which answers no questions")


def _hint(about: str) -> None:
    """Say that a file's name was taken for a text."""
    with contextlib.suppress(OSError, ValueError):  # no name of a file
        if Path(about).is_file():
            print(
                f"{about} is a file, and its name was taken for the text; --file reads it",
                file=sys.stderr,
            )


def _show(answers: "Words | Rows", config: dict[str, Any], to: Path) -> None:
    from experiments.predict import explain, plots

    if isinstance(answers, explain.Words):
        explain.say_words(answers)
    else:
        explain.say_rows(answers)
    plots.draw(answers, config, to)
    print(f"picture: {to}")


def _picture(directory: RunDir, settings: Settings) -> Path:
    """Where to draw, once it is certain that one can."""
    to = directory.path / "explain.png" if settings.out is None else Path(settings.out)
    if to.suffix.lower() != ".png":
        raise UserError(f"--out {to} is no name of a PNG; let it end in .png")
    if to.is_dir():
        raise UserError(f"--out {to} is a directory; name a file in it")
    if not to.parent.is_dir():
        raise UserError(f"--out {to}: {to.parent} is no directory; make it first")
    if not os.access(to.parent, os.W_OK):
        raise UserError(f"{to} cannot be written; name another file with --out")
    for asked in (*settings.about, settings.file):
        if asked is not None and to.exists() and _is_same(Path(asked), to):
            raise UserError(f"--out {to} is what is asked about; name another file")
    return to


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # a text, and no file
        return False


if __name__ == "__main__":
    run(main)
