"""Builds the compiled part of the package; all else is in pyproject.toml.

Without a C++ compiler, or without jax where the package is built, the installation succeeds and
`jaxrnn` runs on its scan: `jaxrnn.engines.available()` says so.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

KERNELS = Path("jaxrnn/engines/_native/kernels")


class BuildKernels(build_ext):
    """Builds a plain shared library: it is loaded by ctypes and has no Python in it."""

    def build_extension(self, ext: Extension) -> None:
        """Adds the headers of XLA's interface, which come with jax."""
        try:
            import jax.ffi
        except ImportError as error:
            # An optional extension may fail to compile, and in no other way.
            raise CompileError(f"jax is needed to build the kernels: {error}") from error
        ext.include_dirs.append(jax.ffi.include_dir())
        one_by_one = self.compiler.compile

        def together(sources: list[str], **options: Any) -> list[str]:
            """The files at once: 27 s on two cores instead of 43."""
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                each = pool.map(lambda source: one_by_one([source], **options), sources)
                return [file for files in each for file in files]

        self.compiler.compile = together
        super().build_extension(ext)

    def get_export_symbols(self, ext: Extension) -> list[str]:
        """No PyInit."""
        return []


setup(
    cmdclass={"build_ext": BuildKernels},
    ext_modules=[
        Extension(
            "jaxrnn.engines._native._kernels",
            sources=[str(path) for path in sorted(KERNELS.glob("*.cc"))],
            depends=[str(path) for path in sorted(KERNELS.glob("*.h"))],
            # No flag names a machine: the vector width is chosen when the library runs. The
            # warnings that are left out come from the headers.
            extra_compile_args=[
                *("-O3", "-std=c++17", "-fno-math-errno", "-ffp-contract=fast"),
                *("-fvisibility=hidden", "-g0", "-Wno-sign-compare", "-Wno-return-type"),
            ],
            language="c++",
            optional=True,
        )
    ],
)
