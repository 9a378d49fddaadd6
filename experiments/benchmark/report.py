"""What a benchmark found, for the screen and as Markdown; made of its JSON alone."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.benchmark.statistics import noisy
from experiments.plots.tables import markdown as table

Found = Mapping[str, Any]
PASSES = {"forward": "forward", "both": "with backward"}
TITLES = {
    "layer": "One recurrent layer", "step": "A training step", "epoch": "An epoch of IMDB",
}  # fmt: skip
SHORT = {"forward": "fwd", "both": "f+b"}
FAMILIES = {
    "any": "the best peer", "jax": "the best JAX peer", "tensorflow": "Keras on TensorFlow",
    "torch": "PyTorch",
}  # fmt: skip


def screen(found: Found) -> str:
    """At most 100 columns wide with up to nine libraries."""
    if found["command"] != "layer":
        return _body(found)
    lines = [*_table(found), "", *legend(found), "", *limits(found), *means(found), *notes(found)]
    return "\n".join(lines)


def milliseconds(seconds: float) -> str:
    """Four figures at most: 1.234, 12.34, 123.4, 1234."""
    return f"{1000 * seconds:.3f}"[:5].rstrip(".") if seconds < 1 else f"{1000 * seconds:.0f}"


def _table(found: Found) -> list[str]:
    names = [library["name"] for library in found["libraries"]]
    heads = [re.split(r"(?<=\.)|-", name) for name in names]
    lines = [
        f"{'ms':<12}" + "".join(f"{head[0]:>8}" for head in heads) + f"{'peer/':>7}{'of':>6}",
        f"{'':<12}" + "".join(f"{head[-1] if head[1:] else '':>8}" for head in heads)
        + f"{'ours':>7}{'sgemm':>6}",
    ]  # fmt: skip
    for problem in found["problems"]:
        for call, short in SHORT.items():
            ratio, fraction = _against_best(found, problem, call)
            lines.append(
                f"{problem['name']:<2}{problem['cell']:<5}{short:<5}"
                + "".join(f"{_entry(problem['results'].get(name, {}), call):>8}" for name in names)
                + f"{ratio:>7}{fraction:>6}"
            )
    return lines


def _entry(of: Found, call: str) -> str:
    if call not in of:
        return "-" if "error" in of or not of else "wrong"
    return milliseconds(of[call]["median"]) + ("~" if noisy(of[call]) else "")


def _against_best(found: Found, problem: Found, call: str) -> tuple[str, str]:
    """Ratio and share of the product's rate of our first engine that has figures here."""
    for name in our_engines(found):
        of = problem["results"].get(name, {})
        if call in of:
            ratio = problem["ratios"].get(name, {}).get(call, {}).get("any")
            shown = f"{ratio['ratio']:.2f}" if ratio else "-"
            return shown, f"{of[call]['sgemm_fraction']:.0%}"
    return "-", "-"


def our_engines(found: Found) -> list[str]:
    """Our engines by name, the one that matters first."""
    return [library["name"] for library in found["libraries"] if library["family"] == "ours"]


def legend(found: Found) -> list[str]:
    """What the letters and columns mean."""
    sizes = {problem["name"]: problem["sizes"] for problem in found["problems"]}
    lines = [
        f"{name}: T {t}, B {b}, D {d}, H {h}" for name, (t, b, d, h) in sizes.items()
    ]  # fmt: skip
    pairs = [
        "   ".join(f"{line:<32}" for line in lines[k : k + 2]) for k in range(0, len(lines), 2)
    ]
    count, threads = found["settings"]["repetitions"], found["settings"]["threads"]
    first = next(iter(our_engines(found)), "ours")
    return [
        *(pair.rstrip() for pair in pairs),
        f"median of {count} turns, {threads} threads each; ~: half of the turns lie further apart",
        f"than a fifth of it. peer/ours: the best peer's median by that of {first}. of sgemm:",
        "the layer's products by its time, as a share of the fastest [B, H] @ [H, G*H] beside it.",
    ]


def limits(found: Found) -> list[str]:
    """The machine's own limits."""
    of, side = found["limits"], found["settings"]["square"]
    return [
        f"{found['machine']}: sgemm of {side} {of['product']['rate'] / 1e9:.1f} GFLOP/s "
        f"({of['product']['library']}),",
        f"copying {of['copy']['rate'] / 1e9:.1f} GB/s ({of['copy']['library']}), "
        f"tanh {of['tanh']['rate'] / 1e9:.2f} G/s ({of['tanh']['library']})",
    ]


def means(found: Found) -> list[str]:
    """Geometric means, and every loss by name."""
    lines = []
    for engine, families in found["means"].items():
        for family, of in families.items():
            lines.append(
                f"{engine} against {FAMILIES[family]}: geometric mean {of['mean']:.2f}, "
                f"least {of['least']:.2f}, over {of['count']}"
            )
    lost = [
        f"{problem['name']} {problem['cell']} {SHORT[call]} {of['any']['ratio']:.2f} "
        f"({of['any']['peer']})"
        for engine in our_engines(found)[:1]
        for problem in found["problems"]
        for call, of in problem["ratios"].get(engine, {}).items()
        if of.get("any", {"ratio": 1})["ratio"] < 1
    ]
    for k in range(0, len(lost), 3):
        lines.append(("slower at: " if k == 0 else "           ") + ", ".join(lost[k : k + 3]))
    return lines


def notes(found: Found) -> list[str]:
    """First calls, imports, denormals, largest deviations; and what went wrong."""
    lines = [
        "",
        f"{'':<10}{'import s':>12}{'first fwd s':>13}{'first f+b s':>13}"
        f"{'deviation':>11}  denormals",
    ]
    for library in found["libraries"]:
        row = library_row(found, library)
        lines.append(
            f"{row['library']:<10}{row['import s']:>12}{row['first forward s']:>13}"
            f"{row['first with backward s']:>13}{row['largest deviation']:>11}  {row['denormals']}"
        )
    for problem in found["problems"]:
        for name, of in problem["results"].items():
            if "error" in of:
                lines.append(f"{name} at {problem['name']} {problem['cell']}: {of['error']}"[:100])
    lines += [f"DISAGREES WITH FLOAT64, not timed: {line}" for line in found["disagreeing"]]
    return lines


def library_row(found: Found, library: Found) -> dict[str, str]:
    """One library over all problems: the dearest first calls, the largest deviation."""
    of = [problem["results"].get(library["name"], {}) for problem in found["problems"]]
    compared = [one for one in of if "deviation" in one]

    def most(values: Iterable[float], form: str) -> str:
        return format(max(values, default=float("nan")), form) if compared else "-"

    flushed = {True: "flushed", False: "kept", None: "not known"}[library["denormals_flushed"]]
    each = [f"{seconds:.2f}" for seconds in library["import_seconds"].values()]
    return {
        "library": library["name"],
        "import s": " + ".join(each) if len(each) < 2 else "+".join(each),
        "first forward s": most((one["first"]["forward"] for one in compared), ".2f"),
        "first with backward s": most((one["first"]["both"] for one in compared), ".2f"),
        "largest deviation": most((max(one["deviation"].values()) for one in compared), ".1e"),
        "denormals": flushed,
    }


def markdown(found: Found) -> str:
    """The same with quartiles: a page."""
    return f"# {TITLES[found['command']]}\n\n`{found['line']}`\n\n{_body(found)}"


def _body(found: Found) -> str:
    if found["command"] != "layer":
        rows = [{k: _cell(v) for k, v in row.items()} for row in found["rows"]]
        return "\n".join([table(rows), *found["notes"], "", _conditions(found), ""])
    sections = [
        table(list(_rows(found))),
        *(f"{line}  " for line in legend(found)), "", *(f"{line}  " for line in limits(found)), "",
        *(f"- {line}" for line in means(found)), "",
        table([library_row(found, library) for library in found["libraries"]]),
        *(f"- {name} disagrees with float64 and was not timed" for name in found["disagreeing"]),
        "", _conditions(found), "",
    ]  # fmt: skip
    return "\n".join(sections)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rows(found: Found) -> Iterable[dict[str, str]]:
    for problem in found["problems"]:
        for call, words in PASSES.items():
            row = {"layer": f"{problem['name']} {problem['cell']}", "pass": words}
            for library in found["libraries"]:
                of = problem["results"].get(library["name"], {})
                row[f"{library['name']} (ms)"] = _quartiles(of, call)
            ratio, fraction = _against_best(found, problem, call)
            yield row | {"best peer / ours": ratio, "of sgemm": fraction}


def _quartiles(of: Found, call: str) -> str:
    if call not in of:
        return _entry(of, call)
    low, middle, high = (milliseconds(of[call][key]) for key in ("q1", "median", "q3"))
    return f"{middle} ({low}-{high})"


def _conditions(found: Found) -> str:
    versions: Sequence[str] = [f"{name} {number}" for name, number in found["versions"].items()]
    threads = found["settings"]["threads"]
    return f"{found['machine']}, {threads} threads; {', '.join(versions)}."
