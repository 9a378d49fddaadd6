"""The one boundary, `jaxrnn/` pure and `experiments/` with effects, and what may import what.

Both packages are rooms on floors: an import leads to the same room or to a lower floor.
"""

import ast
import subprocess
import sys

import pytest
from root import ROOT

# From the ground up; rooms of one floor do not know each other.
LIBRARY = ["_types parallel", "_checks _updates _zeros", "_cells _mask", "engines", "_unroll",
           "_stack", "convert diagnose", "flax", "__init__"]  # fmt: skip
EXPERIMENTS = ["config", "storage", "data", "models", "runs", "plots", "training",
               "predict report memory benchmark", "commands"]  # fmt: skip

PURE = {"jaxrnn", "jax", "jaxtyping", "numpy"}
PURE |= {"collections", "contextlib", "dataclasses", "functools", "itertools", "math", "types"}
PURE |= {"typing"}
OUTSIDE = {
    "jaxrnn/flax/": {"flax", "importlib"},
    "jaxrnn/convert/onnx.py": {"onnx"},
    "jaxrnn/engines/_native/library.py": {"ctypes", "importlib", "pathlib", "re"},
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval"}


def files(package):
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(f"{package}/**/*.py"))


def module_file(name):
    """The file of one of our modules; None for the name of something else."""
    path = name.replace(".", "/")
    return next((f for f in (f"{path}.py", f"{path}/__init__.py") if (ROOT / f).is_file()), None)


def imports(file):
    """The modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if module_file(name) else node.module for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def own_imports(package):
    """`{file: files of the same package that it imports}`."""
    return {
        file: {f for name in imports(file) if (f := module_file(name)) and f.startswith(package)}
        for file in files(package)
    }


def room(file):
    """A file's room: its folder in the package; a file at the top level of `jaxrnn` is its own."""
    package, name, *deeper = file.removesuffix(".py").split("/")
    if package == "experiments":
        return name if deeper and deeper[-1] != "__main__" else "commands"
    return name


@pytest.mark.parametrize(("package", "floors"), [("jaxrnn", LIBRARY), ("experiments", EXPERIMENTS)])
def test_imports_lead_down(package, floors):
    floor = {name: number for number, names in enumerate(floors) for name in names.split()}
    upward = {
        (file, target)
        for file, targets in own_imports(package).items()
        for target in targets - {f"{package}/__init__.py"}
        if room(file) != room(target) and floor[room(file)] <= floor[room(target)]
    }
    assert not upward


@pytest.mark.parametrize("package", ["jaxrnn", "experiments"])
def test_no_files_import_each_other_in_a_circle(package):
    left = own_imports(package)
    while free := [file for file, targets in left.items() if not targets & left.keys()]:
        for file in free:
            del left[file]
    assert not left


@pytest.mark.parametrize("file", files("jaxrnn"))
def test_the_library_is_pure(file):
    """It imports jax, jaxtyping and numpy, and has no effects."""
    further = [names for place, names in OUTSIDE.items() if file.startswith(place)]
    assert {name.partition(".")[0] for name in imports(file)} <= PURE.union(*further)
    calls = [
        n.func for n in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(n, ast.Call)
    ]
    assert not {call.id for call in calls if isinstance(call, ast.Name)} & IMPURE_CALLS


def test_experiments_hold_no_recurrent_mathematics():
    """No experiment scans or applies a gate by itself: it goes through `jaxrnn`.

    Not asked of `experiments/benchmark/peers`, which holds other ways on purpose: to compare with.
    """
    for file in files("experiments"):
        if "/peers/" in file:
            continue
        nodes = ast.walk(ast.parse((ROOT / file).read_text()))
        attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        assert not attributes & {"scan", "tanh", "fori_loop", "while_loop"}, file


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
    packages = {name.partition(".")[0] for name in imports(f"experiments/{file}.py")}
    assert not {"jax", "flax", "jaxrnn"} & packages


def test_importing_the_library_imports_none_of_the_extras():
    extras = ["tensorflow", "tensorflow_datasets", "orbax", "matplotlib", "tyro", "rich", "keras"]
    extras += ["torch", "safetensors", "haiku", "flax", "optax", "equinox", "h5py", "onnx"]
    code = f"import sys, jaxrnn; print([m for m in {extras} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("front", ["nnx", "linen"])
def test_without_flax_its_modules_name_the_extra_and_the_rest_works(front):
    """Flax and optax are not needed by the library itself."""
    code = f"""
import sys
sys.modules["flax"] = sys.modules["optax"] = None
import jax, jaxrnn
params = jaxrnn.init(jax.random.key(0), jaxrnn.GRU, 3, 4)
jaxrnn.convert.to_nnx(jaxrnn.GRU, params)
import jaxrnn.flax.{front}"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        "ModuleNotFoundError: jaxrnn.flax needs Flax; install it with: pip install 'jaxrnn[flax]'"
    )
