"""Draws the published figures: as SVG and a table for the site, and as text for the README.

Usage: python tools/plots [--out DIRECTORY] [--readme] [--speed FILE] [--failures FILE]

The figures are those of benches/figures, which `make bench BENCH=--page` and `make failures FAILURES=--page` write;
`--speed` and `--failures` take what `--json` of either has written instead. Without `--out` and `--readme` it prints the
bars of the README.
"""

import argparse
import json
import sys
from pathlib import Path

import bars
import verdicts

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "benches/figures"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python tools/plots", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="draw the SVGs, and write the table of the first page, into this folder",
    )
    parser.add_argument(
        "--readme", action="store_true", help="put the bars into README.md"
    )
    parser.add_argument("--speed", type=Path, default=FIGURES / "speed.json")
    parser.add_argument("--failures", type=Path, default=FIGURES / "failures.json")
    options = parser.parse_args()
    speed = json.loads(options.speed.read_text())
    if options.out:
        import drawings  # It needs matplotlib.

        failures = json.loads(options.failures.read_text())
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "verdicts.md").write_text(verdicts.table(failures) + "\n")
        for path in drawings.draw_all(speed, failures, options.out):
            print(path)
    if options.readme:
        bars.put_into(ROOT / "README.md", speed)
    if not options.out and not options.readme:
        print(bars.text(speed), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
