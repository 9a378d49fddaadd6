"""Ask a trained run about a text or a picture of your own.

python -m experiments.predict runs/imdb-gru-seed0 "A film that I shall not forget."
python -m experiments.predict runs/imdb-gru-seed0 --file review.txt
echo "Never again." | python -m experiments.predict runs/imdb-gru-seed0
python -m experiments.predict runs/mnist-rows-lstm-seed0 digit.png
"""

import dataclasses
from typing import Annotated

import tyro

from experiments.cli import UserError, parse, path, run
from experiments.predict_text import classify
from experiments.rundir import RunDir

__all__ = ["classify"]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Ask a trained run: about a text, or about a picture of a digit.

    example: python -m experiments.predict runs/imdb-gru-seed0 "A film that I shall not forget."
    """

    run_dir: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]
    """Directory of a run of `experiments.imdb` or `experiments.mnist`."""
    about: Annotated[
        str | None, tyro.conf.Positional, path("standard input", metavar="[TEXT|PICTURE]")
    ] = None
    """The text, or the file of the picture."""
    file: Annotated[str | None, path("none", metavar="FILE")] = None
    """Read the text from this file, in UTF-8; or the picture."""


def main(args: list[str] | None = None) -> None:
    """Answer one question on standard output."""
    settings = parse(Settings, args, prog="python -m experiments.predict")
    about, file = settings.about, settings.file
    directory = RunDir(settings.run_dir)
    config = directory.config()
    if about is not None and file is not None:
        raise UserError("--file and a text or picture are both given; give one of them")
    match config.get("task"):
        case "imdb":
            from experiments import predict_text

            print(predict_text.answer(directory, config, about, file))
        case "mnist":
            from experiments import predict_image

            print(predict_image.answer(directory, config, file if about is None else about))
        case other:
            raise UserError(f"{directory.path} is a run of {other}, which answers no questions")


if __name__ == "__main__":
    run(main)
