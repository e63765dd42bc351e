"""Weighs a small program in Rust that uses procession, beside the same with its peers.

Usage: python benches/weight [--runs N] [PEER ...]

Each program doubles a number in another process. It is built from nothing, without the network, in a folder of its own,
as `cargo build` does it; what counts is the processor time of cargo and all compilers, which a busy machine
changes less than the time on the clock. Nothing is compiled incrementally: cargo never does so for crates of a registry,
but would for procession, which lies beside this file. The number of crates is that of `cargo tree`, the program itself
not counted.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

# What each program depends on, and its `main.rs`.
PEERS = {
    "procession": (
        f'procession = {{ path = "{ROOT / "crates/procession"}" }}',
        """
        #[procession::main]
        fn main() -> procession::Result<()> {
            let child = procession::Process::new(|n: u64| n * 2).args(2).start()?;
            assert_eq!(child.join()?, 4);
            Ok(())
        }
        """,
    ),
    "procspawn": (
        'procspawn = "1"',
        """
        fn main() {
            procspawn::init();
            let child = procspawn::spawn(2_u64, |n| n * 2);
            assert_eq!(child.join().unwrap(), 4);
        }
        """,
    ),
    "rayon": (
        'rayon = "1"',
        """
        fn main() {
            assert_eq!(rayon::join(|| 2 * 2, || ()).0, 4);
        }
        """,
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python benches/weight", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("peers", nargs="*", metavar="PEER", help=", ".join(PEERS))
    parser.add_argument("--runs", type=int, default=3, help="builds of each")
    arguments = parser.parse_args()
    unknown = set(arguments.peers) - set(PEERS)
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    print(f"{'':12} {'crates':>6}  processor seconds of {arguments.runs} builds")
    for peer in arguments.peers or PEERS:
        with tempfile.TemporaryDirectory(prefix="weight-") as folder:
            crates, times = weigh(Path(folder), *PEERS[peer], arguments.runs)
        told = " ".join(f"{seconds:.1f}" for seconds in sorted(times))
        print(f"{peer:12} {crates:6}  {told}", flush=True)
    return 0


def weigh(
    folder: Path, dependency: str, program: str, runs: int
) -> tuple[int, list[float]]:
    """Returns how many crates a program needs, and what each build of it took."""
    (folder / "src").mkdir()
    (folder / "src/main.rs").write_text(program)
    (folder / "Cargo.toml").write_text(
        '[package]\nname = "hello"\nversion = "0.0.0"\nedition = "2024"\n\n'
        f"[workspace]\n\n[dependencies]\n{dependency}\n"
    )
    cargo(folder, "fetch")
    tree = cargo(
        folder, "tree", "--offline", "--edges", "normal,build", "--prefix", "none"
    )
    crates = {line.removesuffix(" (*)") for line in tree.splitlines() if line}
    times = []
    for _ in range(runs):
        cargo(folder, "clean", "--offline")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        cargo(folder, "build", "--offline")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        )
    subprocess.run([folder / "target/debug/hello"], check=True)
    return len(crates) - 1, times


def cargo(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["cargo", *arguments, "--quiet", "--target-dir", folder / "target"]
        if arguments[0] in ("build", "clean")
        else ["cargo", *arguments, "--quiet"],
        cwd=folder,
        env={**os.environ, "CARGO_INCREMENTAL": "0"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
