"""Writes what a benchmark found, for the screen and as Markdown, from its JSON alone."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.benchmark.statistics import noisy
from experiments.plots.tables import markdown as table

Record = Mapping[str, Any]
PASSES = {"forward": "forward", "both": "with backward"}
TITLES = {"layer": "One recurrent layer", "step": "A training step", "epoch": "An epoch of IMDB"}
SHORT = {"forward": "fwd", "both": "f+b"}
FAMILIES = {
    "any": "the best peer",
    "jax": "the best JAX peer",
    "tensorflow": "Keras on TensorFlow",
    "torch": "PyTorch",
}


def screen(record: Record) -> str:
    """At most 100 columns wide with up to nine libraries."""
    if record["command"] != "layer":
        return _body(record)
    lines = [*_table(record), "", *legend(record), "", *limits(record)]
    lines += [*means(record), *notes(record)]
    return "\n".join(lines)


def milliseconds(seconds: float) -> str:
    """Four figures at most: 1.234, 12.34, 123.4, 1234."""
    return f"{1000 * seconds:.3f}"[:5].rstrip(".") if seconds < 1 else f"{1000 * seconds:.0f}"


def _table(record: Record) -> list[str]:
    names = [library["name"] for library in record["libraries"]]
    heads = [re.split(r"(?<=\.)|-", name) for name in names]
    lines = [
        _line("ms", [head[0] for head in heads], "peer/", "of"),
        _line("", [head[-1] if head[1:] else "" for head in heads], "ours", "floor"),
    ]
    for problem in record["problems"]:
        for call, short in SHORT.items():
            entries = [_entry(problem["results"].get(name, {}), call) for name in names]
            name = f"{problem['name']:<2}{problem['cell']:<5}{short}"
            lines.append(_line(name, entries, *_against_best(record, problem, call)))
    return lines


def _line(name: str, entries: Sequence[str], ratio: str, fraction: str) -> str:
    return f"{name:<12}" + "".join(f"{entry:>8}" for entry in entries) + f"{ratio:>7}{fraction:>6}"


def _entry(entry: Record, call: str) -> str:
    if call not in entry:
        return "-" if "error" in entry or not entry else "wrong"
    return milliseconds(entry[call]["median"]) + ("~" if noisy(entry[call]) else "")


def _against_best(record: Record, problem: Record, call: str) -> tuple[str, str]:
    """Ratio and share of the product's rate of our first engine that has figures here."""
    for name in our_engines(record):
        entry = problem["results"].get(name, {})
        if call in entry:
            ratio = problem["ratios"].get(name, {}).get(call, {}).get("any")
            shown = f"{ratio['ratio']:.2f}" if ratio else "-"
            return shown, f"{entry[call]['floor_fraction']:.0%}"
    return "-", "-"


def our_engines(record: Record) -> list[str]:
    """Our engines by name, the one that matters first."""
    return [library["name"] for library in record["libraries"] if library["family"] == "ours"]


def legend(record: Record) -> list[str]:
    """What the letters and columns mean."""
    sizes = {problem["name"]: problem["sizes"] for problem in record["problems"]}
    names = [f"{name}: T {t}, B {b}, D {d}, H {h}" for name, (t, b, d, h) in sizes.items()]
    pairs = zip(names[::2], [*names[1::2], ""], strict=False)
    count, threads = record["settings"]["repetitions"], record["settings"]["threads"]
    first = next(iter(our_engines(record)), "ours")
    return [
        *(f"{left:<32}   {right}".rstrip() for left, right in pairs),
        f"median of {count} turns, {threads} threads each; ~: half of the turns lie further apart",
        f"than a fifth of it. peer/ours: the best peer's median by that of {first}. of floor:",
        "the layer's products at the best rate of any product of this run (backward has two more",
        "for each) and its sigmoids and tanh at theirs, as a share of ours.",
    ]


def limits(record: Record) -> list[str]:
    """The machine's own limits."""
    side, rates = record["settings"]["square"], record["limits"]
    billions = {name: limit["rate"] / 1e9 for name, limit in rates.items()}
    by = {name: f"({limit['library']})" for name, limit in rates.items()}
    return [
        f"{record['machine']}: sgemm of {side} {billions['product']:.1f} GFLOP/s {by['product']},",
        f"the best of all products {billions['best product']:.1f} GFLOP/s {by['best product']},",
        f"copying {billions['copy']:.1f} GB/s {by['copy']}, "
        f"tanh {billions['tanh']:.2f} G/s {by['tanh']}",
    ]


def means(record: Record) -> list[str]:
    """Geometric means, and every loss by name."""
    lines = []
    for engine, families in record["means"].items():
        for family, mean in families.items():
            figures = f"{mean['mean']:.2f}, least {mean['least']:.2f}, over {mean['count']}"
            lines.append(f"{engine} against {FAMILIES[family]}: geometric mean {figures}")
    lost = [
        f"{problem['name']} {problem['cell']} {SHORT[call]} {best['ratio']:.2f} ({best['peer']})"
        for engine in our_engines(record)[:1]
        for problem in record["problems"]
        for call, families in problem["ratios"].get(engine, {}).items()
        if (best := families.get("any")) and best["ratio"] < 1
    ]
    for k in range(0, len(lost), 3):
        lines.append(f"{'' if k else 'slower at:':<11}" + ", ".join(lost[k : k + 3]))
    return lines


def notes(record: Record) -> list[str]:
    """First calls, imports, denormals, largest deviations; and what went wrong."""
    heads = ("", "import s", "first fwd s", "first f+b s", "deviation", "denormals")
    rows = [library_row(record, library).values() for library in record["libraries"]]
    lines = ["", *("{:<10}{:>12}{:>13}{:>13}{:>11}  {}".format(*row) for row in (heads, *rows))]
    for problem in record["problems"]:
        for name, entry in problem["results"].items():
            if "error" in entry:
                place = f"{problem['name']} {problem['cell']}"
                lines.append(f"{name} at {place}: {entry['error']}"[:100])
    lines += [f"DISAGREES WITH FLOAT64, not timed: {line}" for line in record["disagreeing"]]
    return lines


def library_row(record: Record, library: Record) -> dict[str, str]:
    """One library over all problems: the dearest first calls, the largest deviation."""
    entries = [problem["results"].get(library["name"], {}) for problem in record["problems"]]
    compared = [entry for entry in entries if "deviation" in entry]

    def most(values: Iterable[float], form: str) -> str:
        return format(max(values, default=float("nan")), form) if compared else "-"

    flushed = {True: "flushed", False: "kept", None: "not known"}[library["denormals_flushed"]]
    each = [f"{seconds:.2f}" for seconds in library["import_seconds"].values()]
    return {
        "library": library["name"],
        "import s": "+".join(each),
        "first forward s": most((one["first"]["forward"] for one in compared), ".2f"),
        "first with backward s": most((one["first"]["both"] for one in compared), ".2f"),
        "largest deviation": most((max(one["deviation"].values()) for one in compared), ".1e"),
        "denormals": flushed,
    }


def markdown(record: Record) -> str:
    """The same with quartiles: a page."""
    return f"# {TITLES[record['command']]}\n\n`{record['line']}`\n\n{_body(record)}"


def _body(record: Record) -> str:
    if record["command"] != "layer":
        rows = [{k: _cell(v) for k, v in row.items()} for row in record["rows"]]
        return "\n".join([table(rows), *record["notes"], "", _conditions(record), ""])
    wrong = record["disagreeing"]
    lines = [table(list(_rows(record))), *(f"{line}  " for line in legend(record)), ""]
    lines += [*(f"{line}  " for line in limits(record)), ""]
    lines += [*(f"- {line}" for line in means(record)), ""]
    lines += [table([library_row(record, library) for library in record["libraries"]])]
    lines += [f"- {name} disagrees with float64 and was not timed" for name in wrong]
    return "\n".join([*lines, "", _conditions(record), ""])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rows(record: Record) -> Iterable[dict[str, str]]:
    for problem in record["problems"]:
        for call, words in PASSES.items():
            row = {"layer": f"{problem['name']} {problem['cell']}", "pass": words}
            for library in record["libraries"]:
                entry = problem["results"].get(library["name"], {})
                row[f"{library['name']} (ms)"] = _quartiles(entry, call)
            ratio, fraction = _against_best(record, problem, call)
            yield row | {"best peer / ours": ratio, "of the floor": fraction}


def _quartiles(entry: Record, call: str) -> str:
    if call not in entry:
        return _entry(entry, call)
    low, middle, high = (milliseconds(entry[call][key]) for key in ("q1", "median", "q3"))
    return f"{middle} ({low}-{high})"


def _conditions(record: Record) -> str:
    versions: Sequence[str] = [f"{name} {number}" for name, number in record["versions"].items()]
    threads = record["settings"]["threads"]
    return f"{record['machine']}, {threads} threads; {', '.join(versions)}."
