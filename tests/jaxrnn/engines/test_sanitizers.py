"""The portable kernels under sanitizers, by two compilers, and on 64-bit Arm: by hand, minutes."""

import shutil
import subprocess

import pytest
from root import ROOT

KERNELS = ROOT / "jaxrnn" / "engines" / "_native" / "kernels"
CHECK = ROOT / "tests" / "jaxrnn" / "engines" / "check_kernels.cc"

pytestmark = pytest.mark.slow


def checked(folder, compiler, flags, emulator=()):
    """Compile the check and run it: what it says in the end."""
    for program in (compiler, *emulator[:1]):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    sources = [CHECK, KERNELS / "portable.cc", KERNELS / "team.cc"]
    binary = folder / "check"
    command = [
        *(compiler, "-std=c++17", "-O1", "-g", "-fno-math-errno", "-pthread", *flags),
        *(f"-I{KERNELS}", *map(str, sources), "-o", str(binary)),
    ]
    subprocess.run(command, check=True)
    done = subprocess.run([*emulator, str(binary)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_no_sanitizer_complains(tmp_path, compiler, sanitizer):
    flags = (f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all")
    assert checked(tmp_path, compiler, flags) == "256 problems, 0 wrong"


def test_on_arm(tmp_path):
    emulator = ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")
    assert checked(tmp_path, "aarch64-linux-gnu-g++", (), emulator) == "256 problems, 0 wrong"
