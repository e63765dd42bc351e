"""Profile-guided optimisation: the benchmarks tell the compiler which code of the engine is hot.

What is hot is inlined as far as it helps, and all else is compiled to be small. So wheels are smaller by
an eighth, and not slower.
"""

import os
import sys
import tempfile
import zipfile
from pathlib import Path

from checkout import Checkout, Failed, LeftOut, only

# Counts of calls and branches. Processes share one file and count in it as they run, because children
# leave by `_exit` or are killed; values (lengths, callees) cannot be recorded in that way.
RECORDING = (
    "-Cprofile-generate",
    "-Cllvm-args=-runtime-counter-relocation",
    "-Cllvm-args=-disable-vp",
)
# By the second, cold code is optimised for size. By the others, what is neither hot nor cold is inlined only where
# that takes next to no room, even if it is marked `#[inline]`: by itself the compiler takes 225, 325 and 45. What
# is hot has a threshold of its own, which they leave as it is.
USING = (
    "-Cprofile-use={}",
    "-Cllvm-args=-pgso-lwss-only=false",
    "-Cllvm-args=-inline-threshold=10",
    "-Cllvm-args=-inlinehint-threshold=25",
    "-Cllvm-args=-inlinecold-threshold=5",
)


def record(checkout: Checkout) -> str:
    """Counts what the benchmarks call, for the compiler of the wheels."""
    merge = llvm_profdata(checkout)
    target = checkout.root / "target" / "profile"
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        # With a target, programs that run during the build are not instrumented.
        checkout.maturin(
            "build", "--profile", "wheel", "--compatibility", "linux", "--target", host(checkout),
            "--out", folder, RUSTFLAGS=" ".join(RECORDING), CARGO_TARGET_DIR=str(target),
        )  # fmt: skip
        with zipfile.ZipFile(only(folder, "*.whl")) as wheel:
            wheel.extractall(folder / "package")
        counts = folder / "counts"
        environment = {
            "PYTHONPATH": str(folder / "package"),
            "LLVM_PROFILE_FILE": f"{counts}/%m%c.profraw",
        }
        checkout.run(
            sys.executable, "benches/python", "--only", "procession", "--rounds", "1", "python",
            env={**os.environ, **environment},
        )  # fmt: skip
        found = sorted(counts.glob("*.profraw"))
        if not found:
            raise Failed("the benchmarks have recorded nothing")
        checkout.run(merge, "merge", "--output", file(checkout), *found)
    return f"{file(checkout).name} {file(checkout).stat().st_size:,} bytes"


def flags_of_wheels(checkout: Checkout) -> str:
    """Returns the flags of the compiler by which wheels are built after a profile."""
    if not file(checkout).exists():
        raise LeftOut("there is no profile: the step `profile` records it")
    return " ".join(USING).format(file(checkout))


def file(checkout: Checkout) -> Path:
    """Returns where the profile is. It fits any processor: it knows functions by name and shape."""
    return checkout.out / "procession.profdata"


def llvm_profdata(checkout: Checkout) -> Path:
    """Returns the program that merges profiles, of the compiler's own version of LLVM."""
    sysroot = Path(checkout.run("rustc", "--print", "sysroot").strip())
    found = sysroot / "lib" / "rustlib" / host(checkout) / "bin" / "llvm-profdata"
    if not found.exists():
        raise LeftOut("rustup component add llvm-tools")
    return found


def host(checkout: Checkout) -> str:
    """Returns the compiler's name for this machine."""
    told = checkout.run("rustc", "--version", "--verbose").splitlines()
    return next(
        line.removeprefix("host: ") for line in told if line.startswith("host: ")
    )
