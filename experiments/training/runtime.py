"""Memory of large arrays is used again: glibc gives it back to the system after every step.

A block of more than 32 MB is mapped anew at each allocation and costs a page fault for every 4 KB,
whatever its threshold is set to. XLA takes one block for all that a step keeps: 42 MB for LSTM(32)
over 128 reviews of 500 words, 10,000 faults, 12 of 29 ms.
"""

import ctypes
import sys

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_LARGEST = 2**31 - 1


def reuse() -> bool:
    """Let blocks of any size come from the heap, and stay there; whether that could be done.

    For the whole process, so only for a program that is its own: a library leaves this alone. To
    be called before there are threads, for each would have a heap of its own, and smaller.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False  # another C library, which has another allocator
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST))
    return all(mallopt(name, value) for name, value in settings)
