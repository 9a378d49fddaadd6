"""Places a run on its devices: one, or many that share each batch.

    --devices N                 one program over a mesh, each batch split between the devices (jit)
    --pmap                      the same training through `jax.pmap`
    --coordinator HOST:PORT     the mesh goes through several processes, started with the same
      --processes N             arguments but for --process-id; the first one writes
      --process-id I

None of this changes what is computed: every process makes the same batches, masks are drawn for
the whole batch, and losses and gradients are means over it. Sums are added in another order, so
that parameters agree to rounding.
"""

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.config.cli import UserError
from experiments.config.settings import Hardware
from experiments.training import runtime
from experiments.training.processes import ONE_PROCESS, Processes, join
from jaxrnn import parallel


class Placement(NamedTuple):
    """Where a run is computed.

    Attributes:
        mesh: the devices; None for the default one alone.
        pmap: through `jax.pmap` instead of jit.
        processes: how many take part, and which of them this is.
    """

    mesh: Mesh | None = None
    pmap: bool = False
    processes: Processes = ONE_PROCESS

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

    def _own(self, tree: Any) -> Any:
        """Sums as this process has them, so that they mix with its other numbers."""
        if self.processes.count == 1:
            return tree
        return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


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
        join(hardware)
    many = hardware.pmap or processes > 1
    if not many and hardware.devices in (None, 1):
        return ONE_DEVICE
    try:
        mesh = parallel.mesh(hardware.devices)
    except ValueError as error:
        raise UserError(f"--devices: {error}") from None
    check(dataclasses.replace(hardware, devices=mesh.size), batch_size)
    return Placement(mesh, hardware.pmap, Processes(processes, index))
