"""Predicts how procession grows, from what single steps cost on this machine, and measures whether it does.

Usage: python benches/growth [--max-workers 64] [--quick] [--processors 64 128] [--json FILE]

With --processors it measures the costs alone, and predicts what machines with so many processors would do.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import costs
import machine
import page
import procession
from plan import Plan


def main() -> int:
    options = arguments()
    load = f"load {os.getloadavg()[0]:.1f}"
    print(
        f"{machine.processors()} processors, {machine.free_memory() >> 20:,} MiB free, "
        f"procession {procession.__version__}, start method fork, {load}: "
        "others that want the processors make what is measured slower than what is predicted\n",
        flush=True,
    )
    context = procession.get_context("fork")
    found = costs.calibrate(context, options.quick)
    print("costs:", *found.lines(), "", sep="\n", flush=True)
    report = {"processors": machine.processors(), "costs": asdict(found), "curves": []}
    plan = Plan(context, found, options.max_workers, options.quick)
    predicted = {}
    for number in options.processors or []:
        print(f"-- predicted for {number} processors --\n")
        predicted[number] = list(plan.rates(number, is_measured=False))
        for curve in predicted[number]:
            print(curve.table(), end="\n\n")
            report["curves"].append({**curve.record(), "processors": number})
    if options.page:
        page.write(
            f"From the costs of {machine.name()}, {load} when it began", predicted
        )
    if not options.processors:
        for curve in plan.curves():
            print(curve.table(), end="\n\n", flush=True)
            report["curves"].append(curve.record())
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benches/growth", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--max-workers",
        type=positive,
        default=64,
        help="how many workers the curves of pools go to",
    )
    parser.add_argument(
        "--quick", action="store_true", help="few points, each measured in no time"
    )
    parser.add_argument(
        "--processors",
        type=positive,
        nargs="+",
        metavar="N",
        help="only predict, for machines with so many",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all figures here too"
    )
    parser.add_argument(
        "--page",
        action="store_true",
        help="put what --processors predicts into benches/README.md",
    )
    options = parser.parse_args()
    if options.page and not options.processors:
        parser.error("--page is for what --processors predicts")
    return options


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("has to be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
