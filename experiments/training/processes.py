"""Lets several processes train as one: joins them, shares what one reads, ends all together."""

import contextlib
import dataclasses
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.config.cli import UserError
from experiments.config.settings import Hardware

# Seconds without a sign of life after which a process counts as gone (one that dies closes its
# connections and is missed at once; 60 were too few on a machine so busy that compiling took as
# long), and seconds to wait until all are there.
HEARTBEAT, JOIN = 100, 300


class Shared(NamedTuple):
    """What the first process reads for all.

    Attributes:
        notes: whatever JSON can hold.
        arrays: a tree of arrays, or nothing.
    """

    notes: Any
    arrays: Any = ()


@dataclasses.dataclass(frozen=True)
class Processes:
    """How many processes take part, and which of them this is; the first one writes."""

    count: int = 1
    index: int = 0

    @property
    def leader(self) -> bool:
        """Whether this process writes."""
        return self.index == 0

    def shared(self, read: Callable[[], Shared | None], like: Any = ()) -> Shared | None:
        """What `read` gives in the first process, in every process; its arrays are like `like`.

        A `UserError` there is one everywhere, so that nobody waits for a process that has gone.
        """
        if self.count == 1:
            return read()
        message: dict[str, Any] = {}
        buffer = b""
        if self.leader:
            try:
                if (shared := read()) is not None:
                    message = {"notes": shared.notes}
                    leaves = jax.tree.leaves(shared.arrays)
                    buffer = b"".join(np.asarray(leaf).tobytes() for leaf in leaves)
            except UserError as mistake:
                message = {"mistake": str(mistake)}
        message = json.loads(self._from_leader(json.dumps(message).encode()))
        if "mistake" in message:
            raise UserError(message["mistake"])
        if "notes" not in message:
            return None
        return Shared(message["notes"], _unpacked(self._from_leader(buffer), like))

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers: a signal that came to one of them, or 0."""
        if self.count == 1:
            return number
        from jax.experimental import multihost_utils

        return int(multihost_utils.process_allgather(np.int32(number)).max())

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Where one process ends by an error, end the others too, each with a line that says so.

        At its exit jax waits for all processes, and they would wait for this one in their next
        sum: hence the way out past all that.
        """
        if self.count == 1:
            yield
            return
        try:
            yield
        except BaseException as error:
            code, text = self._last_words(error)
            with contextlib.suppress(Exception):
                print(text, file=sys.stderr, flush=True)
                sys.stdout.flush()
            os._exit(code)

    def _last_words(self, error: BaseException) -> tuple[int, str]:
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
                f"error: process {self.index} of {self.count} has lost another one "
                f"({_line(error)}); start all of them again, with --resume where a step was saved"
            )
        return 1, "".join(traceback.format_exception(error))

    def _from_leader(self, content: bytes) -> bytes:
        from jax.experimental.multihost_utils import broadcast_one_to_all

        size = int(broadcast_one_to_all(np.int32(len(content))))
        # Bytes, because a sum with zeros (which a broadcast is) would lose the sign of -0.0.
        sent = np.frombuffer(content, np.uint8) if self.leader else np.zeros(size, np.uint8)
        return np.asarray(broadcast_one_to_all(sent)).astype(np.uint8).tobytes()


ONE_PROCESS = Processes()


def join(hardware: Hardware) -> None:
    """Find the other processes; `UserError` where they cannot be reached."""
    try:
        jax.distributed.initialize(
            hardware.coordinator,
            hardware.processes,
            hardware.process_id,
            initialization_timeout=JOIN,
            heartbeat_timeout_seconds=HEARTBEAT,
        )
    except Exception as error:
        raise UserError(
            f"process {hardware.process_id} of {hardware.processes} cannot join at --coordinator "
            f"{hardware.coordinator} ({_line(error)})"
        ) from error


def _unpacked(buffer: bytes, like: Any) -> Any:
    leaves, start = [], 0
    for leaf in jax.tree.leaves(like):
        size = leaf.size * leaf.dtype.itemsize
        array = np.frombuffer(buffer[start : start + size], leaf.dtype).reshape(leaf.shape)
        leaves.append(jax.numpy.asarray(array))
        start += size
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
