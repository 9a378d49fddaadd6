"""Where a run is computed, and which process writes: one device, many, or several processes.

    --devices N                 one program over a mesh, each batch split between the devices (jit)
    --pmap                      the same training through `jax.pmap`
    --coordinator HOST:PORT     the mesh goes through several processes, started with the same
      --processes N             arguments but for --process-id; the first one writes
      --process-id I

None of this changes what is computed: every process makes the same batches, masks are drawn for
the whole batch, and losses and gradients are means over it. Sums are added in another order, so
that parameters agree to rounding.
"""

import contextlib
import dataclasses
import functools
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.config.cli import UserError
from experiments.config.settings import Hardware
from experiments.training import runtime
from jaxrnn import parallel

# Seconds without a sign of life after which a process counts as gone (one that dies closes its
# connections and is missed at once; 60 were too few on a machine so busy that compiling took as
# long), and seconds to wait until all are there.
HEARTBEAT, JOIN = 100, 300


class Placement(NamedTuple):
    """Where a run is computed.

    Attributes:
        mesh: the devices; None for the default one alone.
        pmap: through `jax.pmap` instead of jit.
        processes, process: how many take part, and which of them this is.
    """

    mesh: Mesh | None = None
    pmap: bool = False
    processes: int = 1
    process: int = 0

    @property
    def leader(self) -> bool:
        """Whether this process writes."""
        return self.process == 0

    @property
    def axis_name(self) -> str | None:
        """The axis inside the steps: where each device runs them for its own rows."""
        return parallel.AXIS if self.pmap else None

    def names(self) -> list[str]:
        """The devices that are used, for `config.json`."""
        used = jax.devices()[:1] if self.mesh is None else self.mesh.devices.flat
        return [f"{device.platform}: {device.device_kind}" for device in used]

    def compile(self, train: Callable[..., Any], evaluate: Callable[..., Any]) -> tuple[Any, Any]:
        """Both steps, `(state or params, batch) -> ...`, for batches of the host's arrays."""
        if self.mesh is None:
            return jax.jit(train, donate_argnums=0), jax.jit(evaluate)
        mesh = self.mesh
        if self.pmap:
            mapped = functools.partial(
                jax.pmap,
                axis_name=parallel.AXIS,
                in_axes=(None, 0),
                out_axes=None,
                devices=list(mesh.devices.flat),
            )

            def rows(a: np.ndarray) -> np.ndarray:
                return a.reshape(mesh.size, -1, *a.shape[1:])

            def on_each(step: Callable[..., Any]) -> Callable[..., Any]:
                return lambda first, batch: step(first, jax.tree.map(rows, batch))

            return on_each(mapped(train)), on_each(mapped(evaluate))
        whole = NamedSharding(mesh, PartitionSpec())
        run = jax.jit(train, donate_argnums=0, out_shardings=whole)
        look = jax.jit(evaluate, out_shardings=whole)

        def split_train(state: Any, batch: Any) -> tuple[Any, Any]:
            state, sums = run(parallel.replicate(state, mesh), parallel.shard(batch, mesh))
            return state, self._own(sums)

        def split_evaluate(params: Any, batch: Any) -> Any:
            return self._own(look(parallel.replicate(params, mesh), parallel.shard(batch, mesh)))

        return split_train, split_evaluate

    def shared(self, read: Callable[[], Any], like: Any) -> Any:
        """What the first process reads, in every process.

        `read` gives None or `(number, arrays in the form of like, *what JSON can hold)`.
        A `UserError` there is one everywhere, so that nobody waits for a process that has gone.
        """
        if self.processes == 1:
            return read()
        said: dict[str, Any] = {}
        buffer = b""
        if self.leader:
            try:
                found = read()
                if found is not None:
                    number, arrays, *notes = found
                    said = {"found": [number, notes]}
                    leaves = jax.tree.leaves(arrays)
                    buffer = b"".join(np.asarray(leaf).tobytes() for leaf in leaves)
            except UserError as mistake:
                said = {"mistake": str(mistake)}
        said = json.loads(self._from_leader(json.dumps(said).encode()))
        if "mistake" in said:
            raise UserError(said["mistake"])
        if "found" not in said:
            return None
        number, notes = said["found"]
        return number, _unpacked(self._from_leader(buffer), like), *notes

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers: a signal that came to one of them, or 0."""
        if self.processes == 1:
            return number
        from jax.experimental import multihost_utils

        return int(multihost_utils.process_allgather(np.int32(number)).max())

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Where one process ends by an error, end the others too, each with a line that says so.

        At its exit jax waits for all processes, and they would wait for this one in their next
        sum: hence the way out past all that.
        """
        if self.processes == 1:
            yield
            return
        try:
            yield
        except BaseException as error:
            code, text = _last_words(error, self)
            with contextlib.suppress(Exception):
                print(text, file=sys.stderr, flush=True)
                sys.stdout.flush()
            os._exit(code)

    def _own(self, tree: Any) -> Any:
        """Sums as this process has them, so that they mix with its other numbers."""
        if self.processes == 1:
            return tree
        return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)

    def _from_leader(self, content: bytes) -> bytes:
        from jax.experimental.multihost_utils import broadcast_one_to_all

        size = int(broadcast_one_to_all(np.int32(len(content))))
        # Bytes, because a sum with zeros (which a broadcast is) would lose the sign of -0.0.
        sent = np.frombuffer(content, np.uint8) if self.leader else np.zeros(size, np.uint8)
        return np.asarray(broadcast_one_to_all(sent)).astype(np.uint8).tobytes()


ONE_DEVICE = Placement()


def check(hardware: Hardware, batch_size: int) -> None:
    """Raise `UserError` for flags that contradict each other; asks no device."""
    processes, index, address = hardware.processes, hardware.process_id, hardware.coordinator
    if address is None and (processes > 1 or index > 0):
        raise UserError(
            "--processes and --process-id need --coordinator HOST:PORT, the address of process 0"
        )
    if address is not None and processes == 1:
        raise UserError(f"--coordinator {address} joins several processes; give --processes too")
    if index >= processes:
        raise UserError(
            f"--process-id is {index}; with --processes {processes} give 0 to {processes - 1}"
        )
    if address is not None and not re.fullmatch(r"(\[[^\]\s]+\]|[^:\s]+):[0-9]{1,5}", address):
        raise UserError(f"--coordinator is {address}; give HOST:PORT, such as localhost:1234")
    if hardware.pmap and processes > 1:
        raise UserError("--pmap runs in one process; leave out --pmap or --processes")
    devices = hardware.devices or 1
    if batch_size % devices:
        raise UserError(
            f"--batch-size is {batch_size}, which {devices} devices do not divide; "
            f"give a multiple of {devices}"
        )
    if hardware.devices is not None and devices % processes:
        raise UserError(f"--devices is {devices}; give a multiple of --processes {processes}")


def start(hardware: Hardware, batch_size: int) -> Placement:
    """Join the other processes, if there are any, and take the devices.

    Raises:
        UserError: as `check`; too few devices, or processes that cannot be reached.
    """
    check(hardware, batch_size)
    runtime.reuse_memory()
    index, processes = hardware.process_id, hardware.processes
    if processes > 1:
        try:
            jax.distributed.initialize(
                hardware.coordinator,
                processes,
                index,
                initialization_timeout=JOIN,
                heartbeat_timeout_seconds=HEARTBEAT,
            )
        except Exception as error:
            raise UserError(
                f"process {index} of {processes} cannot join at --coordinator "
                f"{hardware.coordinator} ({_line(error)})"
            ) from error
    many = hardware.pmap or processes > 1
    if not many and hardware.devices in (None, 1):
        return ONE_DEVICE
    try:
        mesh = parallel.mesh(hardware.devices)
    except ValueError as error:
        raise UserError(f"--devices: {error}") from None
    check(dataclasses.replace(hardware, devices=mesh.size), batch_size)
    return Placement(mesh, hardware.pmap, processes, index)


def _unpacked(buffer: bytes, like: Any) -> Any:
    leaves, at = [], 0
    for leaf in jax.tree.leaves(like):
        size = leaf.size * leaf.dtype.itemsize
        array = np.frombuffer(buffer[at : at + size], leaf.dtype).reshape(leaf.shape)
        leaves.append(jax.numpy.asarray(array))
        at += size
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _last_words(error: BaseException, placement: Placement) -> tuple[int, str]:
    who = f"process {placement.process} of {placement.processes}"
    match error:
        case UserError():
            return 2, f"error: {error}"
        case KeyboardInterrupt():
            return 130, "interrupted"
        case SystemExit():
            return int(error.code or 0), ""
    # A sum that runs where it is called raises a bare ValueError that begins with XLA's status.
    broken = isinstance(error, ValueError) and re.match(r"[A-Z_]+: ", str(error))
    if broken or isinstance(error, jax.errors.JaxRuntimeError):
        return 1, (
            f"error: {who} has lost another one ({_line(error)}); "
            "start all of them again, with --resume where a step was saved"
        )
    import traceback

    return 1, "".join(traceback.format_exception(error))


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
