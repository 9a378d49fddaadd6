"""Reads texts and their labels out of files as people have them.

    reviews.csv     columns text and label, and perhaps split (train or test); .tsv too
    reviews.jsonl   the same by name, an object in each line
    reviews/        reviews/LABEL/ANY.txt, or reviews/train/LABEL/ANY.txt and reviews/test/...

The same texts are the same rows, whichever of these they stand in.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from experiments.config.cli import UserError

TEXT, LABEL, SPLIT = "text", "label", "split"
TRAIN, TEST = "train", "test"
LONGEST = 100  # characters of a label


class Row(NamedTuple):
    """A text, where it stands, its label, and which part it belongs to: "" where none is said."""

    where: str
    text: str
    label: str
    part: str


def read(path: Path) -> list[Row]:
    """All texts of a file or a directory, in their order there.

    Raises:
        UserError: a file cannot be read or is not of its form, or a text is empty: file and row.
    """
    try:
        if not path.exists():
            raise UserError(f"{path} does not exist; give a file or a directory of texts")
        if path.is_dir():
            rows = list(_of_directory(path))
        elif not path.is_file():
            raise UserError(f"{path} is no file; give one of texts, or a directory")
        else:
            form = _of_json if path.suffix.lower() in (".jsonl", ".ndjson") else _of_table
            # Bytes that are no UTF-8 are kept for now: so the row that has them can be named.
            content = path.read_bytes().decode("utf-8-sig", "surrogateescape")
            rows = list(form(path, content))
    except OSError as error:
        raise UserError(f"{error.filename or path} cannot be read: {error.strerror}") from None
    if not rows:
        raise UserError(f"{path} has no texts; give at least two, of two labels")
    return rows


def _of_table(path: Path, content: str) -> Iterator[Row]:
    """Rows of a table; numbered as a spreadsheet does, the one with the names of columns first."""
    first = content.splitlines()[0] if content.strip() else ""
    # Where the comma is decimal, spreadsheets write semicolons; some programs write tabs.
    marks = "\t" if path.suffix.lower() == ".tsv" else ",;\t"
    mark = max(marks, key=first.count)
    names: list[str] = []
    for where, fields in _fields(path, content, mark):
        if not names:
            names = [field.strip().lower() for field in fields]
            for needed in (TEXT, LABEL):
                if names.count(needed) != 1:
                    has = "is more than one" if needed in names else "is no"
                    raise UserError(
                        f"{where}: there {has} column {needed!r} among {', '.join(fields)!r:.100}; "
                        "name the columns in the first row"
                    )
        elif len(fields) != len(names):
            raise UserError(
                f"{where}: there are {len(fields)} fields, and {len(names)} columns; a text with "
                "the separator or a line break in it needs quotation marks"
            )
        else:
            row = dict(zip(names, fields, strict=True))
            yield _row(where, row[TEXT], row[LABEL], row.get(SPLIT, ""))


def _fields(path: Path, content: str, mark: str) -> Iterator[tuple[str, list[str]]]:
    """Where each row stands, and its fields; empty lines are none."""
    limit = csv.field_size_limit(2**31 - 1)  # a text of any length
    number = 0
    try:
        for number, fields in enumerate(
            csv.reader(io.StringIO(content, newline=""), delimiter=mark, strict=True), 1
        ):
            if fields:
                _check_encoding(f"{path}, row {number}", "".join(fields))
                yield f"{path}, row {number}", fields
    except csv.Error as error:
        raise UserError(
            f"{path}, row {number + 1}: its quotation marks are not those of a table ({error}); "
            "double those within a text"
        ) from None
    finally:
        csv.field_size_limit(limit)


def _of_json(path: Path, content: str) -> Iterator[Row]:
    for number, line in enumerate(content.split("\n"), 1):
        where = f"{path}, row {number}"
        if not line.strip():
            continue
        _check_encoding(where, line)
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{where}: this is no JSON ({error}); give an object in each line"
            ) from None
        if not isinstance(row, dict):
            raise UserError(f"{where}: this is no object with {TEXT} and {LABEL}; give one a line")
        for needed in (TEXT, LABEL):
            if needed not in row:
                raise UserError(
                    f"{where}: there is no {needed!r} among {', '.join(row)!r:.100}; add it"
                )
        text, label, part = row[TEXT], row[LABEL], row.get(SPLIT) or ""
        if not isinstance(text, str):
            raise UserError(f"{where}: the {TEXT} is {text!r:.40} and no text; give one")
        if isinstance(label, float | list | dict) or label is None:
            raise UserError(f"{where}: the {LABEL} is {label!r:.40}; give a name or a whole number")
        yield _row(where, text, str(label), str(part))


def _of_directory(path: Path) -> Iterator[Row]:
    names = {place.name for place in _directories(path)}
    if {TRAIN, TEST} < names:
        other = min(names - {TRAIN, TEST})
        raise UserError(
            f"{path} has {TRAIN} and {TEST}, and {other} beside them; move that elsewhere, or give "
            "one of them"
        )
    parts = {TRAIN: path / TRAIN, TEST: path / TEST} if names == {TRAIN, TEST} else {"": path}
    for part, place in parts.items():
        labels = _directories(place)
        if not labels:
            raise UserError(f"{place} has no subdirectory; give one of .txt files for each label")
        for label in labels:
            files = sorted(label.glob("*.txt"))
            if not files:
                raise UserError(f"{label} holds no .txt file; put texts in it, or delete it")
            for file in files:
                content = file.read_bytes().decode("utf-8-sig", "surrogateescape")
                yield _row(str(file), content, label.name, part)


def _directories(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _row(where: str, text: str, label: str, part: str) -> Row:
    for value in (text, label, part):
        _check_encoding(where, value)
    label, part = " ".join(label.split()), part.strip().lower()
    if not text.strip():
        raise UserError(f"{where}: the text is empty; fill it in, or delete it")
    if not label:
        raise UserError(f"{where}: the {LABEL} is empty; fill it in, or delete it")
    if len(label) > LONGEST:
        raise UserError(
            f"{where}: the {LABEL} has {len(label):,} characters, and {LONGEST} are the most: are "
            f"the columns {TEXT} and {LABEL} exchanged?"
        )
    if not label.isprintable():
        raise UserError(f"{where}: the {LABEL} {label!r} cannot be printed; give another name")
    if part not in ("", TRAIN, TEST):
        raise UserError(
            f"{where}: the {SPLIT} is {part!r:.40}; give {TRAIN} or {TEST} (a part of {TRAIN} is "
            "kept for validation)"
        )
    return Row(where, text, label, part)


def _check_encoding(where: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{where}: this is not UTF-8; save the file in UTF-8") from None


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a directory's files with their names."""
    hashed = hashlib.sha256()
    if path.is_dir():
        for file in sorted(path.rglob("*.txt")):
            content = file.read_bytes()
            hashed.update(f"{file.relative_to(path).as_posix()}\0{len(content)}\0".encode())
            hashed.update(content)
    else:
        hashed.update(path.read_bytes())
    return hashed.hexdigest()
