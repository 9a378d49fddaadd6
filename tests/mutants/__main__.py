"""Plants bugs into a copy of the project, one at a time, and says which test catches each.

    python -m tests.mutants                 every bug
    python -m tests.mutants cells convert   those of two files beside this one
    python -m tests.mutants "r and z"       those whose name holds this text
    python -m tests.mutants --check         only that every bug can still be planted
    python -m tests.mutants --healthy       plants nothing: the tests named must pass

A bug is an entry of `tests/mutants/AREA.toml`:

    name    what is wrong, in words
    file    where
    old     text that stands there exactly once
    new     what takes its place
    tests   arguments of pytest: what must fail now

A survivor shows that a test is missing. All of them take half an hour: they are run by hand, and
CI runs `--check` alone.
"""

import argparse
import contextlib
import importlib
import multiprocessing
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "jaxrnn/**/_kernels*.so"
SECONDS = 300  # a bug may make a test wait for ever


class Mutant(NamedTuple):
    """A bug as it stands in `AREA.toml`."""

    area: str
    name: str
    file: str
    old: str
    new: str
    tests: str

    @property
    def is_compiled(self) -> bool:
        """Whether it is a bug of the kernels, which then have to be compiled."""
        return self.file.endswith((".cc", ".h"))


def mutants(wanted: list[str]) -> list[Mutant]:
    """Those of the areas and names that are wanted; all where nothing is named."""
    every = [
        Mutant(area=path.stem, **entry)
        for path in sorted(Path(__file__).parent.glob("*.toml"))
        for entry in tomllib.loads(path.read_text())["mutant"]
    ]
    areas = {mutant.area for mutant in every}
    named = [m for m in every if any(w in m.name for w in wanted if w not in areas)]
    chosen = [m for m in every if not wanted or m.area in wanted or m in named]
    if not chosen:
        raise SystemExit(f"no bug is called {' or '.join(wanted)}")
    return chosen


def faults(every: list[Mutant]) -> list[str]:
    """Why some of these can be planted no more, a line each."""
    lines = [
        f"{name!r} is the name of two bugs"
        for name, n in Counter(m.name for m in every).items()
        if n > 1
    ]
    for mutant in every:
        path = ROOT / mutant.file
        count = path.read_text().count(mutant.old) if path.is_file() else 0
        if count != 1:
            lines.append(
                f"{mutant.area}: {mutant.name}: `old` stands {count} times in {mutant.file}"
            )
        if mutant.old == mutant.new:
            lines.append(f"{mutant.area}: {mutant.name}: `new` is `old`")
        arguments = shlex.split(mutant.tests)
        files = [ROOT / word for word in arguments if word.startswith("tests/")]
        tests = [
            test
            for file in files
            if file.is_file()
            for test in re.findall(r"def (test_\w+)", file.read_text())
        ]
        words = re.findall(r"\w+", arguments[-1]) if "-k" in arguments else ["test_"]
        if not any(word in test for word in words for test in tests):
            lines.append(f"{mutant.area}: {mutant.name}: there is no test for {mutant.tests}")
    return lines


def copied(to: Path) -> None:
    """Copy the project's own files, and the kernels as they are compiled here."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    files = [ROOT / name for name in listed.split("\0") if name]
    for path in (*files, *ROOT.glob(LIBRARY)):
        if path.is_file():
            target = to / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


def compiled(copy: Path) -> str:
    """Compile the kernels of the copy; what went wrong, if something did."""
    for library in copy.glob(LIBRARY):
        library.unlink()
    result = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--force"],
        cwd=copy,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return "" if [*copy.glob(LIBRARY)] else result.stdout[-2000:]


def preload(copy: Path) -> None:
    """Import once what every test needs and nobody plants a bug into: half of a test's time."""
    os.environ |= {  # what tests/conftest.py sets before jax is imported
        "JAX_PLATFORMS": "cpu",
        "KERAS_BACKEND": "jax",
        "JAX_COMPILATION_CACHE_DIR": str(copy / ".pytest_cache" / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    for name in ("jax", "flax.nnx", "optax", "keras", "haiku", "orbax.checkpoint", "pytest"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def ask_pytest(copy: Path, tests: str, output: Path) -> None:
    """Be pytest, in a process of its own that sees the copy and nothing of the project itself."""
    import pytest

    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    own = {ROOT, ROOT / "tests" / "mutants"}
    sys.path[:] = [str(copy), *(path for path in sys.path if Path(path).resolve() not in own)]
    for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
        del sys.modules[name]
    quiet = ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # of what is imported already
    options = ("-n0", "-x", "-q", "-p", "no:cacheprovider", *quiet)
    sys.exit(int(pytest.main([*options, *shlex.split(tests)])))


def tested(copy: Path, tests: str) -> tuple[int, str]:
    """Status of pytest, and the first test that failed or else the end of what it says."""
    output = copy / ".mutants-output"
    process = multiprocessing.get_context("fork").Process(
        target=ask_pytest, args=(copy, tests, output)
    )
    process.start()
    process.join(SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
        return -1, f"more than {SECONDS} s"
    said = output.read_text(errors="replace")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+?::.+?)(?: - .*)?$", said, re.MULTILINE)
    return process.exitcode, failed[1] if failed else said[-2000:]


def verdict(copy: Path, mutant: Mutant, *, healthy: bool) -> tuple[bool, str]:
    """Whether all is as it should be, and how to say it."""
    if healthy:
        status, text = tested(copy, mutant.tests)
        return status == 0, "passes" if status == 0 else f"FAILS WITHOUT THE BUG: {text}"
    path = copy / mutant.file
    sound = path.read_text()
    libraries = {path: path.read_bytes() for path in copy.glob(LIBRARY)}
    path.write_text(sound.replace(mutant.old, mutant.new))
    try:
        if mutant.is_compiled and (problem := compiled(copy)):
            return False, f"DOES NOT COMPILE: {problem}"
        status, text = tested(copy, mutant.tests)
    finally:
        path.write_text(sound)
        for library, content in libraries.items() if mutant.is_compiled else ():
            library.write_bytes(content)
    if status == 1:
        return True, f"by {text}"
    return False, "NOT CAUGHT" if status == 0 else f"NO TEST RAN (status {status}): {text}"


def main() -> int:
    """Plant what is asked for; 1 where a bug is not caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("wanted", nargs="*", metavar="AREA|NAME")
    parser.add_argument("--check", action="store_true", help="plant nothing and run no test")
    parser.add_argument("--healthy", action="store_true", help="run the tests without the bugs")
    arguments = parser.parse_args()
    chosen = mutants(arguments.wanted)
    problems = faults(chosen)
    print(*problems, sep="\n", end="\n" if problems else "")
    if arguments.check or problems:
        return 1 if problems else 0
    if arguments.healthy:
        chosen = list({mutant.tests: mutant for mutant in chosen}.values())
    good = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        copy = Path(directory)
        copied(copy)
        preload(copy)
        for mutant in chosen:
            begun = time.perf_counter()
            caught, text = verdict(copy, mutant, healthy=arguments.healthy)
            good += caught
            word = "ok" if arguments.healthy else "caught"
            line = f"{word if caught else '!':8}{mutant.area}: {mutant.name}  {text}"
            print(f"{line}  ({time.perf_counter() - begun:.1f} s)", flush=True)
    print(f"{good} of {len(chosen)} {'pass without the bugs' if arguments.healthy else 'caught'}")
    return 0 if good == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
