"""The one boundary: `jaxrnn/` is pure, `experiments/` has effects. Which file may import which."""

import ast
import subprocess
import sys

import pytest
from root import ROOT

# For every file of the library: the other files of it that it may import, and the packages.
LIBRARY = {
    "__init__": {
        "cells",
        "convert",
        "diagnose",
        "engines",
        "layers",
        "parallel",
        "reset_before",
        "unroll",
    },
    "cells": {"jax", "jaxtyping"},
    "engines/__init__": {
        "engines.choose",
        "engines.cudnn",
        "engines.fused",
        "engines.native",
        "engines.scan",
    },
    "engines/choose": {
        "cells",
        "engines.cudnn",
        "engines.library",
        "engines.native",
        "engines.scan",
        "jax",
    },
    "engines/cudnn": {"cells", "engines.reverse_mode", "jax", "jaxtyping"},
    "engines/devices": {"cells", "jax", "jaxtyping"},
    "engines/fused": {
        "cells",
        "engines.devices",
        "engines.reverse_mode",
        "engines.scan",
        "jax",
        "jaxtyping",
    },
    "engines/library": {"jax", "ctypes", "importlib", "pathlib", "re"},
    "engines/native": {
        "cells",
        "engines.devices",
        "engines.library",
        "engines.reverse_mode",
        "jax",
        "jaxtyping",
        "numpy",
    },
    "engines/reverse_mode": {"jax", "jaxtyping", "contextlib"},
    "engines/scan": {"cells", "jax", "jaxtyping"},
    "unroll": {"cells", "engines", "jax", "jaxtyping", "numpy"},
    "layers": {"cells", "parallel", "unroll", "jax", "jaxtyping"},
    "parallel": {"jax", "jaxtyping"},
    "reset_before": {"cells", "jax", "jaxtyping"},
    "convert/__init__": {f"convert.{name}" for name in ("flax", "haiku", "keras", "torch")},
    "convert/gates": {"cells", "jax", "numpy"},
    "convert/flax": {"cells", "convert.gates", "unroll", "jax", "numpy"},
    "convert/haiku": {"cells", "convert.gates", "unroll", "jax", "numpy"},
    "convert/keras": {"cells", "convert.gates", "layers", "unroll", "jax", "numpy"},
    "convert/torch": {"cells", "convert.gates", "layers", "unroll", "jax", "numpy"},
    "flax/__init__": set(),
    "flax/conventions": {"cells", "engines", "unroll", "jax", "jaxtyping"},
    "flax/linen": {"cells", "flax", "flax.conventions", "jax", "jaxtyping"},
    "flax/nnx": {"cells", "flax", "flax.conventions", "unroll", "jax", "jaxtyping"},
    "diagnose": {"cells", "engines", "unroll", "jax", "jaxtyping", "numpy"},
}
PURE_STANDARD_LIBRARY = {
    "collections",
    "functools",
    "math",
    "typing",
    "itertools",
    "dataclasses",
    "types",
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval"}


def imports(path):
    """The modules a file imports, anywhere in it; those of jaxrnn without the package's name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [node.module]
            if node.module == "jaxrnn":
                names = [f"jaxrnn.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            yield rest if package == "jaxrnn" else package


def test_every_file_of_the_library_is_in_the_table():
    files = {
        str(p.relative_to(ROOT / "jaxrnn").with_suffix("")) for p in ROOT.glob("jaxrnn/**/*.py")
    }
    assert files == set(LIBRARY)


@pytest.mark.parametrize("file", LIBRARY)
def test_library_imports(file):
    path = ROOT / "jaxrnn" / f"{file}.py"
    assert set(imports(path)) - PURE_STANDARD_LIBRARY <= LIBRARY[file]


@pytest.mark.parametrize("file", LIBRARY)
def test_library_has_no_effects(file):
    tree = ast.parse((ROOT / "jaxrnn" / f"{file}.py").read_text())
    called = {node.func.id for node in ast.walk(tree)
              if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
    assert not called & IMPURE_CALLS


def test_experiments_hold_no_recurrent_mathematics():
    """No experiment scans or applies a gate by itself: it goes through `jaxrnn`.

    Not asked of `experiments/benchmark/peers`, which holds other ways on purpose: to compare with.
    """
    for path in ROOT.glob("experiments/**/*.py"):
        if "peers" in path.parts:
            continue
        attributes = {
            n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)
        }
        assert not attributes & {"scan", "tanh", "fori_loop", "while_loop"}, path.name


PICTURES = [
    "plot",
    "plots/curves",
    "plots/digits",
    "predict/plots",
    "predict/explain",
    "report/page",
    "report/__main__",
    "memory/plots",
    "memory/gradient_plots",
    "benchmark/plots",
]


@pytest.mark.parametrize("file", PICTURES)
def test_pictures_are_drawn_without_jax_or_the_model(file):
    assert not {"jax", "flax"} & set(imports(ROOT / f"experiments/{file}.py"))


def test_importing_the_library_imports_none_of_the_extras():
    extras = ["tensorflow", "tensorflow_datasets", "orbax", "matplotlib", "tyro", "rich", "keras"]
    extras += ["torch", "safetensors", "haiku", "flax"]
    code = f"import sys, jaxrnn; print([m for m in {extras} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
