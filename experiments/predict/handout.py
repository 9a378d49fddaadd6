"""Tells a stranger how an exported model is asked: the facts for `export.json`, and a README.

The README prints a loader of some twenty lines that needs jax and NumPy alone; it is the text of
`handout_text.md` or `handout_image.md`, with this model's facts filled in.
"""

import json
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data import text
from experiments.data.images import SIDE
from experiments.models.build import reading
from experiments.plots.style import heading
from experiments.plots.tables import cell, markdown
from experiments.predict.text import probabilities
from experiments.runs.directory import VOCABULARY
from experiments.runs.load import Trained

# Inputs [B, T] or [B, T, D] and lengths [B] to logits [B, C].
Ask = Callable[[np.ndarray, np.ndarray], Any]

# By what the logits become: the end of the loader, and the same in words.
_CODE = {
    "sigmoid": """\
    p = 1 / (1 + np.exp(-logits[0]))
    return dict(zip(card["classes"], (1 - p, p)))""",
    "softmax": """\
    p = np.exp(logits - logits.max())
    return dict(zip(card["classes"], p / p.sum()))""",
}
_WORDS = {
    "sigmoid": "Its sigmoid, 1 / (1 + exp(-logit)), is the probability of {1}; the rest is that of "
    "{0}.",
    "softmax": "Their softmax, each exp(logit) over the sum of all of them, gives the "
    "probabilities, in this order: {all}.",
}
# Files that not every export has: a row of the table, and how they are used.
_FILES = {
    "step.stablehlo": "one step of the program: `(weights, states, xs) -> (states, logits)`",
    "model.onnx": "the program and its weights for other runtimes, with ONNX's own recurrent nodes",
}
_OTHERS = {
    "step.stablehlo": """

## Step by step

`step.stablehlo` takes one step for each of a batch, `xs` without the axis `time`, and its logits
are those of all steps so far. The states go in and come out, arrays by name as in `export.json`
under `step_program`; the first ones are zeros:

```python
step = export.deserialize(bytearray(open("step.stablehlo", "rb").read()))
forms = card["step_program"]["states"]
states = {name: np.zeros([1, *f["shape"][1:]], f["dtype"]) for name, f in forms.items()}

def take(x):
    global states
    states, logits = step.call(weights, states, x[None])
    return np.asarray(logits)[0]
```

`take(x)`, with one step of `xs[0]` after the other.""",
    "model.onnx": """

## With onnxruntime

```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(logits,) = session.run(["logits"], {"xs": xs, "lengths": lengths})
```""",
}
# First and last row, first and last column of bright rectangles: upright, lying, and none.
_BARS = ((4, 23, 13, 14), (13, 14, 4, 23), (4, 3, 4, 3))


def facts(trained: Trained) -> dict[str, Any]:
    """What `export.json` says besides the program: how inputs are made and logits are read."""
    said: dict[str, Any] = {
        "classes": list(trained.classes),
        "activation": "sigmoid" if len(trained.classes) == 2 else "softmax",
    }
    if trained.vocabulary is None:
        how = reading(trained.settings)
        steps, features = how.shape
        order = None if how.permute is None else how.order().tolist()
        pixels: dict[str, Any] = {"shape": [SIDE, SIDE], "dtype": "uint8", "paper": 0, "ink": 255}
        sequence = {"scale": 1 / 255, "order": order, "steps": steps, "features": features}
        return said | {"image": pixels | sequence}
    settings = trained.settings.text
    tokens: dict[str, Any] = {
        "vocabulary": VOCABULARY,
        "spaces": text.BREAK.pattern,
        "normalize": "NFC",
        "lower": True,
        "apostrophes": text.APOSTROPHES,
        "word": text.WORD.pattern,
    }
    ids = {"padding": text.PADDING, "start": text.START, "unknown": text.UNKNOWN}
    kept = "last" if settings.truncate == "head" else "first"
    cut = {"first_word": text.FIRST_WORD, "max_length": settings.max_length, "kept": kept}
    return said | {"text": tokens | ids | cut}


def examples(trained: Trained, ask: Ask) -> list[dict[str, Any]]:
    """Inputs and the model's answers to them, which a reading of somebody else's must give too."""
    made: list[tuple[dict[str, Any], np.ndarray]] = []
    if trained.vocabulary is None:
        how = reading(trained.settings)
        for top, bottom, left, right in _BARS:
            image = np.zeros((1, SIDE, SIDE), np.uint8)
            image[:, top : bottom + 1, left : right + 1] = 255
            made.append(({"rectangle": [top, bottom, left, right]}, how(image)))
    else:
        settings = trained.settings.text
        for example in _texts(trained.vocabulary.words):
            ids = trained.vocabulary.encode(example)
            n = settings.max_length
            ids = ids[-n:] if settings.truncate == "head" else ids[:n]
            made.append(({"text": example, "ids": ids.tolist()}, ids[None]))
    found = []
    for about, xs in made:
        logits = np.asarray(ask(xs, np.array([xs.shape[1]], np.int32)))
        found.append(about | {"probabilities": probabilities(logits)[0].tolist()})
    return found


def _texts(words: Sequence[str]) -> list[str]:
    """Texts of known and of unknown words, with all that the rule has a word on."""
    one, two, three = (words[k % len(words)] for k in range(3))
    return [
        f"{one} {two} {three}",
        f"\u201c{one.upper()}!\u201d<br />{two}-{three}, 7/10: don\u2019t, 'qzx' E\u0301t\u00e9_1",
        "",
    ]


def readme(card: Mapping[str, Any], config: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """The README of an export.

    Args:
        card: its `export.json`.
        config: of the run.
        result: its summary, empty where it is not finished.
    """
    task = "text" if "text" in card else "image"
    page = Path(__file__).with_name(f"handout_{task}.md").read_text(encoding="utf-8")
    classes, activation = card["classes"], card["activation"]
    names = [f"`{cell(name)}`" for name in classes]
    accuracy = result.get("test_accuracy")
    title, model, *_ = heading(config)
    said = {
        "title": cell(title),
        "model": model,
        "count": len(classes),
        "classes": ", ".join(names),
        "dataset": config.get("dataset"),
        "version": config.get("versions", {}).get("jaxrnn", ""),
        "result": "" if accuracy is None else f"; its test accuracy is {accuracy:.4f}",
        "probabilities": _CODE[activation],
        "shape": f"[batch, {1 if activation == 'sigmoid' else len(classes)}]",
        "output": _WORDS[activation].format(*names, all=", ".join(names)),
        "files": "".join(f"\n| `{name}` | {_FILES[name]} |" for name in _others(card)),
        "others": "".join(_OTHERS[name] for name in _others(card)),
        "examples": markdown([_shown(example, classes) for example in card["examples"]]),
    }
    made = _of_text(card["text"]) if task == "text" else _of_image(card["image"])
    return string.Template(page).substitute(said | made)


def _others(card: Mapping[str, Any]) -> list[str]:
    """The files that not every export has."""
    return [name for name in _FILES if name in card["sha256"]]


def _of_text(rule: Mapping[str, Any]) -> dict[str, Any]:
    n, is_end = rule["max_length"], rule["kept"] == "last"
    return {
        "spaces": rule["spaces"],
        # As escapes: they look alike, and two of them like nothing.
        "apostrophes": rule["apostrophes"].encode("unicode_escape").decode(),
        "points": ", ".join(f"U+{ord(letter):04X}" for letter in rule["apostrophes"]),
        "word": rule["word"],
        "padding": rule["padding"],
        "start": rule["start"],
        "unknown": rule["unknown"],
        "first": rule["first_word"],
        "longest": n,
        "kept": rule["kept"],
        "cut": f"[-{n}:]" if is_end else f"[:{n}]",
    }


def _of_image(rule: Mapping[str, Any]) -> dict[str, Any]:
    steps, features = rule["steps"], rule["features"]
    order = "" if rule["order"] is None else '[card["image"]["order"]]'
    how = "a step is a row." if features > 1 else "a step is one pixel."
    if order:
        how = "a step is one pixel, but in the order that `export.json` has under `image`, `order`."
    return {"steps": steps, "features": features, "order": order, "reading": how}


def _shown(example: Mapping[str, Any], classes: Sequence[str]) -> dict[str, str]:
    """A row of the table; of many classes the likeliest three."""
    best = np.argsort(example["probabilities"], kind="stable")[::-1][:3]
    answers = ", ".join(f"{cell(classes[k])} {example['probabilities'][k]:.6f}" for k in best)
    if "text" in example:
        # In ASCII: a letter and its accent, or two kinds of marks, may look alike.
        asked = {"text": f"`{cell(json.dumps(example['text']))}`", "xs": f"{example['ids']}"}
        return asked | {"probabilities": answers}
    return {"rectangle": f"{example['rectangle']}", "probabilities": answers}
