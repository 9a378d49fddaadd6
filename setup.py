"""The compiled part of the package; all else is in pyproject.toml.

Without a C++ compiler, or without jax where the package is built, the installation succeeds and
`jaxrnn` runs on its scan: `jaxrnn.engines.available()` says so.
"""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = Path("jaxrnn/engines/kernels")


class BuildKernels(build_ext):
    """Builds a plain shared library: it is loaded by ctypes and has no Python in it."""

    def build_extension(self, ext: Extension) -> None:
        """Adds the headers of XLA's interface, which come with jax."""
        import jax.ffi

        ext.include_dirs.append(jax.ffi.include_dir())
        super().build_extension(ext)

    def run(self) -> None:
        """Builds in several processes at once: each instruction set takes its seconds."""
        self.parallel = True
        super().run()

    def get_export_symbols(self, ext: Extension) -> list[str]:
        """No PyInit."""
        return []


setup(
    cmdclass={"build_ext": BuildKernels},
    ext_modules=[
        Extension(
            "jaxrnn.engines._kernels",
            sources=[str(path) for path in sorted(KERNELS.glob("*.cc"))],
            depends=[str(path) for path in sorted(KERNELS.glob("*.h"))],
            # No flag names a machine: the vector width is chosen when the library runs.
            extra_compile_args=[
                "-O3",
                "-std=c++17",
                "-fno-math-errno",
                "-ffp-contract=fast",
                "-fvisibility=hidden",
                "-g0",
            ],
            language="c++",
            optional=True,
        )
    ],
)
