"""Checkpoints: what is restored is what was saved, whatever happened to the files in between."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from root import ROOT

from experiments import checkpoint as command_of
from experiments.config.cli import UserError
from experiments.runs.checkpoint import Checkpoints, verify
from experiments.storage import verified_arrays
from experiments.storage.verified_arrays import DamagedError

INTEGERS = [f"{kind}{size}" for kind in ("int", "uint") for size in (8, 16, 32, 64)]
FLOATS = ["float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "float32", "float64"]
DTYPES = ["bool", "int4", *INTEGERS, *FLOATS, "complex64", "complex128"]


class Pair(NamedTuple):
    a: object
    b: object


def tree(value=0.0):
    """A small training state in which every array depends on `value`."""
    weights = np.arange(600, dtype=np.float32).reshape(20, 30) + np.float32(value)
    params = {"cell": Pair(jnp.asarray(weights), jnp.full((3,), value, jnp.bfloat16))}
    return {
        "params": params,
        "optimizer": optax.adam(1e-3).init(params),
        "counter": np.asarray(int(value * 10), np.int32),
        "large": np.random.default_rng(int(value * 10)).standard_normal(30_000),
    }


def bits(x):
    """All that can be told about a leaf: type, dtype, shape, weak type and bytes."""
    array = np.asarray(x)
    weak = x.weak_type if isinstance(x, jax.Array) else None
    return type(x), array.dtype, array.shape, weak, array.tobytes()


def same(a, b):
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        bits(x) == bits(y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def fill(directory, scores):
    """Steps 10, 20, ... with these scores."""
    checkpoints = Checkpoints(directory)
    for i, score in enumerate(scores, start=1):
        checkpoints.save(10 * i, tree(i), {"rows": [i] * i, "lr": 0.1}, score=score)
    return checkpoints


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    directory = tmp_path_factory.mktemp("two") / "checkpoints"
    fill(directory, [0.5, 0.6])
    return directory


@pytest.fixture
def copy(two_steps, tmp_path):
    """A directory with steps 10 and 20, to be damaged."""
    return Path(shutil.copytree(two_steps, tmp_path / "checkpoints"))


def files(directory):
    return sorted(path for path in directory.rglob("*") if path.is_file())


# What comes back


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_shape_comes_back_bitwise(tmp_path, dtype):
    rng = np.random.default_rng(0)
    arrays = {
        str(shape): (rng.standard_normal(shape) * 9).astype(dtype)
        for shape in [(), (1,), (7,), (0,), (3, 0, 2), (2, 3, 4)]
    }
    Checkpoints(tmp_path).save(1, arrays, {}, score=None)
    restored, _ = Checkpoints(tmp_path).restore(1, arrays)
    assert same(arrays, restored)


def test_no_bit_of_special_values_changes(tmp_path):
    patterns = [0x7FC12345, 0xFFC00001, 0x7F812345, 0x80000000, 0x7F800000, 0x00000001]
    arrays = {
        "special": np.array(patterns, np.uint32).view(np.float32),
        "zeros": np.zeros(5, np.float32),
        "minus": np.full(5, -0.0, np.float32),
        "strided": np.arange(20.0).reshape(4, 5).T[::2],
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    }
    Checkpoints(tmp_path).save(1, arrays, {}, score=None)
    restored, _ = Checkpoints(tmp_path).restore(1, arrays)
    assert same(arrays, restored)


def test_structure_kinds_of_leaves_and_meta_come_back(tmp_path):
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    state = nnx.state(model, nnx.Param)
    optimizer = optax.chain(optax.clip(1.0), optax.adamw(1e-3))
    saved = {
        "state": state,
        "optimizer": optimizer.init(state),
        "pair": Pair([jnp.arange(3), None], (np.float32(2), {})),
        "numbers": [3, 2.5, True, 1j],
        "weak": jnp.full((2,), 2.0),
        "names": {"a/b": jnp.zeros(1), "..": jnp.ones(2), "é.x": jnp.ones(1), "": jnp.ones(3)},
    }
    meta = {"rows": [{"loss": 0.1 + 0.2, "n": 2**60}], "best": None, "word": "naïve 😀"}
    Checkpoints(tmp_path).save(0, saved, meta, score=0.1)
    like = jax.tree.map(lambda x: x * 0 if isinstance(x, jax.Array) else x, saved)
    restored, restored_meta = Checkpoints(tmp_path).restore(0, like)
    assert same(saved, restored)
    assert restored_meta == meta


def test_leaves_go_to_the_devices_of_like(tmp_path):
    mesh = Mesh(np.array(jax.devices()), ("x",))
    x = jnp.arange(16.0).reshape(8, 2)
    for spec in (PartitionSpec("x"), PartitionSpec()):
        saved = jax.device_put(x, NamedSharding(mesh, spec))
        Checkpoints(tmp_path).save(1, {"x": saved}, {}, score=None)
        for like_spec in (PartitionSpec("x"), PartitionSpec(None, None)):
            sharding = NamedSharding(mesh, like_spec)
            for like in (
                jax.device_put(x * 0, sharding),
                jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            ):
                restored = Checkpoints(tmp_path).restore(1, {"x": like})[0]["x"]
                assert restored.sharding == sharding
                np.testing.assert_array_equal(restored, x)
        plain = Checkpoints(tmp_path).restore(1, {"x": jax.eval_shape(lambda: x)})[0]["x"]
        assert isinstance(plain, jax.Array)
        np.testing.assert_array_equal(plain, x)


def test_restored_arrays_can_be_donated(tmp_path):
    saved = {"w": jnp.arange(2_000.0), "n": jnp.int32(3), "b": jnp.ones((64,), jnp.bfloat16)}
    Checkpoints(tmp_path).save(1, saved, {}, score=None)
    restored, _ = Checkpoints(tmp_path).restore(1, saved)
    step = jax.jit(lambda t: jax.tree.map(lambda x: x + 1, t), donate_argnums=0)
    stepped = step(step(restored))
    assert all(x.is_deleted() for x in jax.tree.leaves(restored))
    assert same(stepped, jax.tree.map(lambda x: x + 1 + 1, saved))


def test_no_arrays_at_all(tmp_path):
    Checkpoints(tmp_path).save(1, {}, {"a": 1}, score=None)
    assert Checkpoints(tmp_path).restore(1, {}) == ({}, {"a": 1})


def test_a_copied_run_is_as_good(copy, tmp_path):
    shutil.move(copy, tmp_path / "elsewhere")
    step, restored, _ = Checkpoints(tmp_path / "elsewhere").restore_newest(tree(), print)
    assert step == 20
    assert same(restored, tree(2))


def test_nothing_is_printed_or_logged(tmp_path, capfd, caplog):
    checkpoints = fill(tmp_path, [0.5, 0.6])
    checkpoints.restore(10, tree())
    checkpoints.restore_best({"counter": np.int32(0)}, print)
    (tmp_path / "20" / "manifest.json").write_text("{")
    checkpoints.restore_newest(tree(), lambda line: None)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_loading_executes_nothing(two_steps):
    seen = []
    watched = ("pickle.find_class", "os.system", "os.exec", "subprocess.Popen", "os.posix_spawn")
    watching = True
    sys.addaudithook(lambda name, _: seen.append(name) if watching and name in watched else None)
    Checkpoints(two_steps).restore(20, tree())
    verify(two_steps)
    watching = False
    assert seen == []


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counter": np.int64(0)}, r"counter is int32\[\] in .*/10; int64\[\] is expected"),
        ({"counter": 0.5}, r"counter is int32\[\] in .*/10; float64\[\] is expected"),
        ({"large": np.zeros(4)}, r"large is float64\[30000\] in .*/10; float64\[4\] is exp"),
        ({"large": np.zeros((30_000, 1))}, r"float64\[30000\] .*; float64\[30000,1\] is"),
        ({"large": jax.ShapeDtypeStruct((30_000,), "float32")}, r"; float32\[30000\] is exp"),
        ({"more": np.zeros(4)}, "/10 has no more,"),
        ({"large": None}, "/10 has large,"),
    ],
)
def test_another_tree_is_refused_and_nothing_set_aside(copy, change, message):
    like = tree() | change
    with pytest.raises(UserError, match=message) as caught:
        Checkpoints(copy).restore(10, like)
    assert not isinstance(caught.value, DamagedError)
    with pytest.raises(UserError, match=message.replace("/10", "/20")):
        Checkpoints(copy).restore_newest(like, print)
    assert Checkpoints(copy).steps() == [10, 20]


def test_float64_is_not_cast_without_x64(two_steps):
    like = {"large": jax.ShapeDtypeStruct((30_000,), np.dtype("float64"))}
    with pytest.raises(UserError, match="float64 needs jax_enable_x64"):
        Checkpoints(two_steps).restore(10, like, part=True)


@pytest.mark.parametrize(
    ("leaf", "meta", "message"),
    [
        (jax.random.key(0), {}, "x is a PRNG key"),
        ("word", {}, "x is str"),
        (object(), {}, "x is object"),
        (np.zeros(2, "datetime64[s]"), {}, "x is ndarray"),
        (1.0, {"a": np.float32(1)}, "not JSON serializable"),
    ],
)
def test_what_cannot_be_saved_is_a_type_error_and_leaves_no_file(tmp_path, leaf, meta, message):
    with pytest.raises(TypeError, match=message):
        Checkpoints(tmp_path).save(1, {"x": leaf}, meta, score=None)
    assert list(tmp_path.iterdir()) == []


def test_two_leaves_of_one_name_are_refused(tmp_path):
    with pytest.raises(TypeError, match="same name"):
        Checkpoints(tmp_path).save(1, {"a/b": 1, "a": {"b": 2}}, {}, score=None)


def test_a_lower_step_is_refused(two_steps):
    with pytest.raises(UserError, match=r"cannot save step 15: .* holds step 20"):
        Checkpoints(two_steps).save(15, tree(), {}, score=1.0)
    assert Checkpoints(two_steps).steps() == [10, 20]


def test_a_negative_step_is_refused(tmp_path):
    with pytest.raises(ValueError, match="step is -1"):
        Checkpoints(tmp_path).save(-1, {}, {}, score=1.0)


def test_a_step_that_is_not_there(two_steps, tmp_path):
    with pytest.raises(UserError, match=r"no step 15 in .*, only \[10, 20\]"):
        Checkpoints(two_steps).restore(15, tree())
    empty = Checkpoints(tmp_path / "none")
    assert (empty.latest(), empty.best(), empty.steps()) == (None, None, [])
    assert empty.restore_newest(tree(), print) is None
    with pytest.raises(UserError, match="no checkpoint in"):
        empty.restore_best(tree(), print)
    assert not (tmp_path / "none").exists()


# What is kept


@pytest.mark.parametrize(
    ("scores", "steps", "best"),
    [
        ([0.5], [10], 10),
        ([None, None, None], [20, 30], None),
        ([0.1, 0.2, 0.3], [20, 30], 30),
        ([0.1, 0.3, 0.2], [20, 30], 20),
        ([0.3, 0.2, 0.1, 0.0], [10, 30, 40], 10),
        ([0.3, 0.3, 0.1, 0.3], [10, 30, 40], 10),
        ([float("nan"), -1.0, None, float("nan")], [20, 30, 40], 20),
        ([0.5, 0.6, 0.1, 0.2, 0.7, 0.1], [50, 60], 50),
    ],
)
@pytest.mark.parametrize("reopen", [False, True])
def test_the_newest_two_and_the_best_are_kept(tmp_path, scores, steps, best, reopen):
    checkpoints = Checkpoints(tmp_path)
    for i, score in enumerate(scores, start=1):
        checkpoints = Checkpoints(tmp_path) if reopen else checkpoints
        checkpoints.save(10 * i, {"x": np.int32(i)}, {"i": i}, score=score)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.steps() == steps
    assert checkpoints.latest() == 10 * len(scores)
    assert checkpoints.best() == best
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(map(str, steps))
    number, restored, meta = checkpoints.restore_best({"x": np.int32(0)}, print)
    assert number == (best or 10 * len(scores))
    assert 10 * restored["x"] == 10 * meta["i"] == number


def test_a_step_saved_again_replaces_itself(tmp_path):
    checkpoints = fill(tmp_path, [0.5, 0.9])
    for value, score in ((7, 0.1), (8, 0.7)):
        checkpoints.save(20, tree(value), {"again": value}, score=score)
        assert Checkpoints(tmp_path).steps() == [10, 20]
        step, restored, meta = Checkpoints(tmp_path).restore_newest(tree(), print)
        assert (step, meta) == (20, {"again": value})
        assert same(restored, tree(value))
        assert len(list(tmp_path.iterdir())) == 2
        assert Checkpoints(tmp_path).best() == (10 if score < 0.5 else 20)


def test_part_of_the_best_step(copy):
    like = {"params": tree()["params"]}
    step, restored, meta = Checkpoints(copy).restore_best(like, print)
    assert (step, meta["rows"]) == (20, [2, 2])
    assert same(restored, {"params": tree(2)["params"]})
    said = []
    next(copy.glob("20/arrays/ocdbt.process_0/d/*")).write_bytes(b"")
    step, restored, _ = Checkpoints(copy).restore_best(like, said.append)
    assert step == 10
    assert same(restored, {"params": tree(1)["params"]})
    assert len(said) == 1
    assert str(copy / "20") in said[0]
    assert sorted(path.name for path in copy.iterdir()) == ["10", "20"]


# What is noticed


def survives(copy, note):
    """Step 20 came back as it was, or was said and set aside, and step 10 came back."""
    said = []
    step, restored, meta = Checkpoints(copy).restore_newest(tree(), said.append)
    assert same(restored, tree(step // 10)), note
    assert meta == {"rows": [step // 10] * (step // 10), "lr": 0.1}, note
    if step == 20:
        assert said == [], note
        return False
    assert len(said) == 1, note
    assert "\n" not in said[0]
    assert "set aside as 20.bad" in said[0]
    assert not (copy / "20").exists()
    assert (copy / "20.bad").is_dir()
    return True


def test_a_flipped_bit_is_never_loaded(copy):
    rng = random.Random(0)
    noticed = total = 0
    paths = [path.relative_to(copy) for path in files(copy / "20")]
    for relative in paths:
        data = (copy / relative).read_bytes()
        for _ in range(120 // len(paths) + 1):
            damaged, position, bit = bytearray(data), rng.randrange(len(data)), rng.randrange(8)
            damaged[position] ^= 1 << bit
            (copy / relative).write_bytes(damaged)
            total += 1
            if survives(copy, f"{relative} byte {position} bit {bit}"):
                noticed += 1
                (copy / "20.bad").rename(copy / "20")
            (copy / relative).write_bytes(data)
    assert total >= 100
    # All but white space in the manifest's JSON is under a digest.
    assert noticed >= total - 2


def test_an_edited_manifest_is_never_loaded(copy):
    """Nothing else is compared with what it says of the training."""
    manifest = copy / "20" / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"lr": 0.1', '"lr": 0.2'))
    assert manifest.read_text() != text
    assert survives(copy, "another learning rate")


@pytest.mark.parametrize("damage", ["truncate", "empty", "delete", "append", "zero", "swap"])
def test_a_damaged_file_is_never_loaded(copy, damage):
    for path in files(copy / "20"):
        data = path.read_bytes()
        other = copy / "10" / path.relative_to(copy / "20")
        damaged = {
            "truncate": data[: len(data) // 2],
            "empty": b"",
            "delete": None,
            "append": data + b"x",
            "zero": bytes(len(data)),
            "swap": other.read_bytes() if other.exists() else b"{}",
        }[damage]
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        unchanged = damaged == data
        assert survives(copy, f"{path} {damage}") != unchanged
        if not unchanged:
            (copy / "20.bad").rename(copy / "20")
        path.write_bytes(data)


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "3", "[" * 100_000, '{"sha256": 1}', '{"sha256": "x", "arrays": {}}'],
)
def test_bad_json_in_any_step(copy, text):
    (copy / "10" / "manifest.json").write_text(text)
    assert Checkpoints(copy).latest() == Checkpoints(copy).best() == 20
    assert not survives(copy, text)
    Checkpoints(copy).save(30, tree(3), {}, score=None)
    assert (copy / "10").exists()  # damaged, therefore not deleted
    (copy / "30").rename(copy / "5")
    (copy / "10").rename(copy / "30")
    assert Checkpoints(copy).latest() == 20
    said = []
    assert Checkpoints(copy).restore_newest(tree(), said.append)[0] == 20
    assert (copy / "30.bad").exists()
    assert "/30" in said[0]


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"step": 20, "score": "high", "meta": {}},
        {"step": 20, "score": 0.5, "meta": []},
        {"step": 21, "score": 0.5, "meta": {}},
        {"step": "20", "score": 0.5, "meta": {}},
    ],
)
def test_a_sealed_directory_that_is_no_such_step(copy, content):
    shutil.rmtree(copy / "20")
    verified_arrays.write(copy / "20", tree(2), content)
    assert Checkpoints(copy).latest() == 10
    assert survives(copy, content)


def test_a_good_seal_around_other_arrays(copy):
    """Damage that file digests cannot see: the arrays' own digests notice it."""
    path = copy / "20" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["arrays"]["large"], manifest["arrays"]["optimizer/0/count"] = (
        ["float64", [30_000], "0" * 64],
        manifest["arrays"]["optimizer/0/count"],
    )
    manifest.pop("sha256")
    manifest["sha256"] = verified_arrays._digest(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(DamagedError, match=r"large was written as float64\[30000\] 000000000000"):
        Checkpoints(copy).restore(20, tree())
    assert survives(copy, "array digest")


@pytest.mark.parametrize("name", ["{outside}", "../../outside", "arrays/../../../outside", "pipe"])
def test_a_good_seal_around_a_file_that_is_not_its_own(copy, tmp_path, name):
    """A step from somebody else reads nothing beside it, and nothing that never ends."""
    outside = tmp_path / "outside"
    outside.write_text("a secret")
    name = name.format(outside=outside)
    os.mkfifo(copy / "20" / "pipe")
    path = copy / "20" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][name] = verified_arrays._file_digest(outside)
    manifest.pop("sha256")
    manifest["sha256"] = verified_arrays._digest(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(DamagedError, match="is no file in it"):
        Checkpoints(copy).restore(20, tree())
    assert survives(copy, name)


def test_a_fault_of_orbax_is_no_damage(copy, monkeypatch):
    def fail(*_, **__):
        raise ValueError("of another version\nand so on")

    monkeypatch.setattr(ocp.Checkpointer, "restore", fail)
    with pytest.raises(UserError, match=r"Orbax cannot read .*/20: of another version$"):
        Checkpoints(copy).restore_newest(tree(), print)
    assert [verdict.good for verdict in verify(copy)] == [False, False]
    assert sorted(path.name for path in copy.iterdir()) == ["10", "20"]


def test_stray_and_empty_things_do_not_matter(copy):
    (copy / "99").mkdir()
    (copy / "98").write_text("a file")
    (copy / "020").mkdir()
    (copy / "30.orbax-checkpoint-tmp").mkdir()
    (copy / "tmp-30").mkdir()
    (copy / "notes.txt").write_text("mine")
    (copy / "20" / "notes.txt").write_text("mine")
    os.symlink("nowhere", copy / "97")
    checkpoints = Checkpoints(copy)
    assert (checkpoints.latest(), checkpoints.best(), checkpoints.steps()) == (20, 20, [10, 20])
    said = []
    assert checkpoints.restore_newest(tree(), said.append)[0] == 20
    assert len(said) == 1
    assert "99 has no manifest.json; set aside as 99.bad" in said[0]
    for step in (97, 98, 99):
        checkpoints.save(step, tree(step), {}, score=None)
    assert checkpoints.steps() == [20, 98, 99]
    assert same(checkpoints.restore(99, tree())[0], tree(99))
    names = {"20", "97", "98", "98-1", "99", "99.bad", "020", "notes.txt"}
    assert {path.name for path in copy.iterdir()} == names | {"30.orbax-checkpoint-tmp"}


def test_all_damaged_is_one_line_with_the_paths_each_time(copy):
    for step in ("10", "20"):
        (copy / step / "manifest.json").unlink()
    for _ in range(2):
        with pytest.raises(UserError, match=r"every checkpoint is damaged") as caught:
            Checkpoints(copy).restore_newest(tree(), lambda line: None)
        assert str(copy / "10.bad") in str(caught.value)
        assert str(copy / "20.bad") in str(caught.value)
        assert "\n" not in str(caught.value)
        with pytest.raises(UserError, match=r"every checkpoint is damaged"):
            Checkpoints(copy).restore_best(tree(), print)


def test_verify_lists_every_step(copy, capsys, monkeypatch):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["checkpoint", *map(str, arguments)])
        code = command_of.main()
        return code, capsys.readouterr().out.splitlines()

    code, lines = command("verify", copy.parent)
    assert code == 0
    assert [line.split()[:2] for line in lines] == [["20", "good:"], ["10", "good:"]]
    assert "9 arrays" in lines[0]
    assert lines[0].endswith("score 0.6, the best")
    (copy / "30").mkdir()
    (copy / "5.bad").mkdir()
    path = max(files(copy / "20"), key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    code, lines = command("verify", copy)
    assert code == 1
    assert [line.split()[0] for line in lines] == ["30", "20", "10", "5.bad"]
    assert "no manifest.json" in lines[0]
    assert f"{path} is damaged" in lines[1]
    assert "good" in lines[2]
    assert "set aside" in lines[3]
    assert sorted(p.name for p in copy.iterdir()) == ["10", "20", "30", "5.bad"]
    with pytest.raises(UserError, match="no checkpoint in"):
        command("verify", copy / "nowhere")
    with pytest.raises(UserError, match="verfy"):
        command("verfy", copy)


# What a kill or a full disk leaves


class Moments:
    """Calls `at` before every file operation of Python code: the moments of a SIGKILL."""

    events = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir")
    current = None

    def __init__(self, at):
        self.at = at

    def __enter__(self):
        Moments.current = self

    def __exit__(self, *_):
        Moments.current = None

    @classmethod
    def hook(cls, name, arguments):
        moments = cls.current
        if moments and name in cls.events:
            cls.current = None
            try:
                moments.at(name, arguments)
            finally:
                cls.current = moments


sys.addaudithook(Moments.hook)


def test_a_kill_at_any_moment_leaves_whole_steps(tmp_path):
    """The directory as it is before each file operation of a save is what a SIGKILL leaves."""
    run = tmp_path / "run"
    fill(run, [0.9, 0.5, 0.6])  # the save of step 40 deletes step 20 and keeps 10
    snapshots, seen = [], set()

    def snapshot(name, arguments):
        state = tuple((path, path.lstat().st_mtime_ns) for path in sorted(run.rglob("*")))
        if state in seen:
            return
        seen.add(state)
        target = tmp_path / f"snapshot{len(snapshots)}"
        shutil.copytree(run, target, symlinks=True)
        snapshots.append((target, f"{name} {arguments[0]}"))

    with Moments(snapshot):
        Checkpoints(run).save(40, tree(4), {"rows": [4] * 4, "lr": 0.1}, score=0.7)
        Checkpoints(run).save(40, tree(4), {"rows": [4] * 4, "lr": 0.1}, score=0.7)
    newest = []
    for path, note in snapshots:
        said = []
        checkpoints = Checkpoints(path)
        assert {10, 30} <= set(checkpoints.steps()), note
        assert checkpoints.best() == 10, note
        assert all(verdict.good for verdict in verify(path)), note
        step, restored, meta = checkpoints.restore_newest(tree(), said.append)
        assert said == [], note
        assert same(restored, tree(step // 10)), note
        assert meta["rows"] == [step // 10] * (step // 10), note
        newest.append(step)
        checkpoints.save(50, {"x": 1}, {}, score=None)
        assert checkpoints.steps() == [10, step, 50], note
        assert len(list(path.iterdir())) == 3, note
        shutil.rmtree(path)
    assert len(newest) > 30
    assert newest == sorted(newest)
    assert set(newest) == {30, 40}


@pytest.mark.parametrize("fault", [OSError, KeyboardInterrupt])
def test_a_fault_at_any_moment_leaves_the_earlier_steps(tmp_path, capfd, fault):
    fill(tmp_path, [0.9, 0.5, 0.6])
    left = 0

    def fail(*_):
        nonlocal left
        left -= 1
        if left == 0:
            raise fault(errno.EIO, "planted")

    outcomes = set()
    for moment in range(1, 400, 3):
        left, newest = moment, Checkpoints(tmp_path).latest()
        try:
            with Moments(fail):
                Checkpoints(tmp_path).save(newest + 10, {"x": moment}, {}, score=0.1)
            outcome = "saved"
        except UserError as error:
            outcome = "refused" if "planted" in str(error) else f"refused with {error}"
        except KeyboardInterrupt:
            outcome = "interrupted"
        outcomes.add(outcome)
        steps = Checkpoints(tmp_path).steps()
        assert {10, newest} <= set(steps), moment
        assert outcome != "saved" or newest + 10 in steps, moment
        assert all(verdict.good for verdict in verify(tmp_path)), moment
        if left > 0:
            break
    assert left > 0
    assert outcomes in ({"saved", "refused"}, {"saved", "interrupted"})
    assert {path.name for path in tmp_path.iterdir()} == {str(step) for step in steps}
    assert capfd.readouterr() == ("", "")


def test_what_orbax_wrote_wrongly_is_no_step(copy, monkeypatch):
    save = ocp.Checkpointer.save

    def spoil(self, path, **arguments):
        arguments["args"].item["large"] = np.zeros(30_000)
        save(self, path, **arguments)

    monkeypatch.setattr(ocp.Checkpointer, "save", spoil)
    with pytest.raises(UserError, match=r"cannot save step 30 .*large was written as"):
        Checkpoints(copy).save(30, tree(3), {}, score=1.0)
    assert sorted(path.name for path in copy.iterdir()) == ["10", "20"]


def test_all_of_a_step_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    synced, named = set(), []
    fsync, rename = os.fsync, os.rename

    def note_sync(descriptor):
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def note_rename(source, target):
        if target == tmp_path / "10":
            named.append({path.stat().st_ino for path in (source, *source.rglob("*"))} - synced)
            synced.clear()
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note_rename)
    Checkpoints(tmp_path).save(10, tree(1), {}, score=None)
    assert named == [set()]
    assert tmp_path.stat().st_ino in synced


CHILD = """
import os, shutil, signal, sys
from pathlib import Path
import numpy as np
from experiments.runs.checkpoint import Checkpoints
from experiments.storage import verified_arrays

def value(step):
    return {"w": np.random.default_rng(step).standard_normal(20_000), "step": np.int32(step)}

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

checkpoints = Checkpoints(Path(sys.argv[1]))
start = (checkpoints.latest() or 0) + 1
"""


def child(code, *arguments, **options):
    """A Python process with `CHILD`'s names that runs `code`."""
    text = CHILD + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", text, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def newest_of_child(directory):
    """Check the child's newest step, and return it."""
    like = {"w": np.zeros(20_000), "step": np.int32(0)}
    said = []
    step, restored, meta = Checkpoints(directory).restore_newest(like, said.append)
    assert said == []
    expected = np.random.default_rng(step).standard_normal(20_000)
    np.testing.assert_array_equal(restored["w"], expected)
    assert restored["step"] == step == meta["step"]
    return step


KILLS = {  # where the child kills itself while it saves step 4, and the newest step after that
    "inside Orbax": ("import orbax.checkpoint as o; o.Checkpointer._save_step_metadata = kill", 3),
    "before the manifest": ("verified_arrays._file_digest = kill", 3),
    "before the commit": ("rename = os.rename; os.rename = lambda a, b: "
                          "kill() if str(b).endswith('/4') else rename(a, b)", 3),
    "after the commit": ("rename = os.rename; os.rename = lambda a, b: "
                         "(rename(a, b), str(b).endswith('/4') and kill())", 4),
    "before a deletion": ("Checkpoints._retain = kill", 4),
    "in a deletion": ("sweeps = []; rmtree = shutil.rmtree; shutil.rmtree = lambda path, **_: "
                      "(os.remove(Path(path) / 'manifest.json'), kill())", 4),
}  # fmt: skip


def test_a_killed_save_in_a_process(tmp_path):
    def start(name):
        return child(
            f"""
            for step in range(start, 100):
                if step == 4:
                    {KILLS[name][0]}
                checkpoints.save(step, value(step), {{"step": step}}, score=-float(step))
            """,
            tmp_path / name,
        )

    running = {name: start(name) for name in KILLS}
    for name, process in running.items():
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (-9, ""), name
        assert newest_of_child(tmp_path / name) == KILLS[name][1], name
        checkpoints = Checkpoints(tmp_path / name)
        assert checkpoints.best() == 1, name
        checkpoints.save(5, {"x": 1}, {}, score=None)
        assert checkpoints.steps() == [1, KILLS[name][1], 5], name
        assert len(list((tmp_path / name).iterdir())) == 3, name


@pytest.mark.slow  # 1 minute
def test_killed_at_twenty_random_moments(tmp_path):
    rng, last = random.Random(0), 0
    for _ in range(20):
        process = child(
            """
            for step in range(start, 10_000):
                checkpoints.save(step, value(step), {"step": step}, score=step % 7.0)
                print(step, flush=True)
            """,
            tmp_path,
        )
        seen = int(process.stdout.readline())
        time.sleep(rng.uniform(0, 0.4))
        process.kill()
        output, errors = process.communicate()
        assert errors == ""
        seen = max([seen, *map(int, output.split())])
        newest = newest_of_child(tmp_path)
        assert newest >= seen > last
        last = newest


@pytest.mark.parametrize("noticed", ["before", "by Orbax"])
def test_a_full_disk_leaves_the_earlier_steps(tmp_path, noticed):
    process = child(
        """
        import resource
        from experiments.config.cli import UserError, run
        if sys.argv[2] != "before":
            verified_arrays._reserve = lambda directory, size: None
        checkpoints.save(1, value(1), {"step": 1}, score=0.5)
        checkpoints.save(2, value(2), {"step": 2}, score=0.4)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        for limit in (0, 1, 50, 200, 1_000, 5_000, 50_000, 150_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                checkpoints.save(3, value(3), {"step": 3}, score=0.6)
            except UserError as error:
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
                assert "\\n" not in str(error), error
                assert "cannot save step 3" in str(error), error
                assert sorted(os.listdir(sys.argv[1])) == ["1", "2"], limit
                print(limit, error)
            else:
                raise AssertionError(limit)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
        run(lambda: checkpoints.save(3, value(3), {"step": 3}, score=0.6))
        """,
        tmp_path,
        noticed,
    )
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert len(output.splitlines()) == 8
    plain = output.count("([Errno 27] File too large); earlier steps are still there")
    assert plain == 8 if noticed == "before" else plain < 8
    assert errors.count("\n") == 1, errors
    assert errors.startswith("error: cannot save step 3 in ")
    assert newest_of_child(tmp_path) == 2
    assert Checkpoints(tmp_path).steps() == [1, 2]


@pytest.mark.parametrize("unreadable", ["manifest.json", "_METADATA", "other", "list"])
def test_a_read_only_directory_leaves_the_earlier_steps(unreadable):
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        process = child(
            """
            from experiments.config.cli import UserError, run
            other = Checkpoints(Path(sys.argv[2]))
            other.save(1, value(1), {"step": 1}, score=0.0)
            for path in other.directory.parent.rglob(sys.argv[3]):
                os.chmod(path, 0)
            if sys.argv[3] == "list":  # its names may be read, and nothing below
                os.chmod(other.directory, 0o444)
            for step in (1, 2, 3):
                checkpoints.save(step, value(step), {"step": step}, score=-float(step))
            (checkpoints.directory / "3" / "manifest.json").write_text("")
            os.chmod(checkpoints.directory, 0o555)
            if os.getuid() == 0:  # root may write anywhere
                os.setuid(65534)
            said = []
            step, tree, meta = checkpoints.restore_newest(value(0), said.append)
            assert (step, tree["step"], len(said)) == (2, 2, 1), said
            assert "left there (" in said[0], said
            try:
                Checkpoints(Path(sys.argv[2])).restore_newest(value(0), said.append)
            except UserError as error:
                assert "cannot read" in str(error), error
            else:
                raise AssertionError("unreadable, and nothing said")
            run(lambda: checkpoints.save(3, value(3), {"step": 3}, score=0.6))
            """,
            Path(directory) / "checkpoints",
            Path(directory) / "other",
            unreadable,
        )
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 2, errors
        assert errors.count("\n") == 1, errors
        assert "cannot save step 3" in errors
        assert "ermission denied" in errors
        os.chmod(Path(directory) / "checkpoints", 0o755)
        shutil.rmtree(Path(directory) / "checkpoints" / "3")
        assert newest_of_child(Path(directory) / "checkpoints") == 2


# What it costs


def test_help_answers_at_once_without_jax():
    code = "import sys, experiments.checkpoint; print({'jax', 'orbax', 'numpy'} & {*sys.modules})"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "set()"


def test_a_step_is_a_few_files(two_steps):
    assert len(files(two_steps / "20")) <= 15


def test_what_was_never_placed_on_a_device_is_not_placed_by_reading_it(tmp_path):
    """jax compiles anew for arrays that are: the first --resume took as long as the first epoch."""
    free = jnp.arange(3.0)
    placed = jax.device_put(free, jax.devices()[0])
    verified_arrays.write(tmp_path / "x", {"free": free, "placed": placed}, {})
    manifest = verified_arrays.read_manifest(tmp_path / "x")
    back = verified_arrays.restore(tmp_path / "x", manifest, {"free": free, "placed": placed})
    assert (back["free"].committed, back["placed"].committed) == (False, True)
