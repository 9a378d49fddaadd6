"""Texts of three classes, and the forms of files in which somebody may have them."""

import csv
import io
import json
import random

TOPICS = {
    "cooking": ("oven", "butter", "salt", "dough"),
    "politics": ("vote", "senate", "law", "minister"),
    "sports": ("goal", "match", "team", "coach"),
}
FILLER = ["the", "a", "of", "and", "then", "it", "was", "on", "some", "day", "in", "town"]


def examples(n=120):
    """Texts and labels: two words of a topic among others. Some have what a table must quote."""
    rng, rows = random.Random(0), []
    for k in range(n):
        label = sorted(TOPICS)[k % 3]
        words = [rng.choice(FILLER) for _ in range(rng.choice((3, 6)))]
        words += rng.sample(TOPICS[label], 2)
        rng.shuffle(words)
        rows.append((", ".join(words) + ('\n"Ende", größer; \t Ω' if k % 5 == 0 else ""), label))
    return rows


def parts(rows):
    """Every fourth to test on."""
    return [
        (text, label, "test" if k % 4 == 3 else "train") for k, (text, label) in enumerate(rows)
    ]


def table(rows, mark=",", names=("text", "label", "split")):
    out = io.StringIO()
    csv.writer(out, delimiter=mark).writerows([names, *rows])
    return out.getvalue()


def lines(rows):
    keys = ("text", "label", "split")
    return "".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in rows)


def directory(path, rows):
    """A subdirectory for each part and class, a file for each text; numbered in their order."""
    for k, (text, label, part) in enumerate(rows):
        file = path / part / label / f"{k:04}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="")
    return path


def write(path, content, encoding="utf-8"):
    path.write_bytes(content.encode(encoding))
    return path
