"""What is told of a release that is not ready, and what the steps and the workflow name."""

import os
import re
import runpy
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "release"

MANIFEST = """
[workspace.package]
version = "1.2.3"
[workspace.dependencies]
procession-sys = { path = "crates/procession-sys", version = "1.2.3" }
libc = "0.2"
"""


def check(root: Path, step: str, *arguments: str) -> tuple[int, str]:
    """Runs one step on a tree; returns the exit code and what was printed."""
    command = [sys.executable, TOOL, "--root", root, "--only", step, *arguments]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("heading", "manifest", "told"),
    [
        ("## 1.2.3 (2026-11-30)", MANIFEST, None),
        ("## Unreleased", MANIFEST, "CHANGELOG.md begins with 'Unreleased'"),
        ("## 1.2.2 (2026-11-30)", MANIFEST, "CHANGELOG.md begins with '1.2.2"),
        ("## 1.2.3", MANIFEST, "CHANGELOG.md begins with '1.2.3'"),
        (
            "## 1.2.3 (2026-11-30)",
            MANIFEST.replace('sys", version = "1.2.3"', 'sys", version = "1.2.2"'),
            "Cargo.toml asks for procession-sys 1.2.2, not 1.2.3",
        ),
    ],
)
def test_version_and_date_are_asked_for(tmp_path, heading, manifest, told) -> None:
    (tmp_path / "Cargo.toml").write_text(manifest)
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n\n- News.\n")
    code, out = check(tmp_path, "version")
    if told is None:
        assert code == 0
        assert out.startswith("release: version: 1.2.3 (2026-11-30)\n")
    else:
        assert code == 1
        assert told in out


def test_wheels_are_asked_for_before_they_are_judged(tmp_path) -> None:
    code, out = check(tmp_path, "contents")
    assert code == 1
    assert "has no wheels: build them first" in out


def test_a_step_that_was_left_out_is_named_and_strictly_an_error(tmp_path) -> None:
    (tmp_path / "Cargo.toml").write_text(
        '[workspace.package]\nversion = "1.2.3"\nrust-version = "1.0"\n'
    )
    code, out = check(tmp_path, "minimum-rust")
    assert code == 0
    assert "left out: " in out
    assert out.endswith("0 failed, 1 left out (minimum-rust)\n")
    assert check(tmp_path, "minimum-rust", "--strict")[0] == 1


@pytest.mark.parametrize(
    ("licence", "told"), [("MIT", "as deny.toml wants them"), ("GPL-3.0", "rejected")]
)
def test_licence_that_is_not_allowed_is_refused(tmp_path, licence, told) -> None:
    crate = f'[package]\nname = "one"\nversion = "1.0.0"\nlicense = "{licence}"\n'
    (tmp_path / "Cargo.toml").write_text(crate)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/lib.rs").touch()
    (tmp_path / "deny.toml").write_text((ROOT / "deny.toml").read_text())
    code, out = check(tmp_path, "licences")
    if "licences: left out" in out:
        pytest.skip(out.splitlines()[0])
    assert (code, told in out) == (licence != "MIT", True), out


def test_wheel_that_is_compressed_anew_is_smaller_and_the_same(tmp_path) -> None:
    pytest.importorskip("zopfli")  # It is of the group `release`.
    wheel = tmp_path / "one.whl"
    text = (ROOT / "ARCHITECTURE.md").read_bytes()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for name, mode in (("one/text.md", 0o644), ("one/tool.so", 0o755)):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            made.writestr(entry, text)

    def held() -> list[tuple[object, ...]]:
        with zipfile.ZipFile(wheel) as read:
            entries = read.infolist()
            return [
                (
                    e.filename,
                    e.date_time,
                    e.external_attr,
                    e.compress_type,
                    read.read(e),
                )
                for e in entries
            ]

    size, before = wheel.stat().st_size, held()
    module = runpy.run_path(str(TOOL))
    module["compress"](wheel)
    assert held() == before
    assert wheel.stat().st_size < size
    assert list(tmp_path.iterdir()) == [wheel]


def test_each_crate_that_is_published_comes_after_those_it_needs() -> None:
    named = re.search(
        r"CRATES = \((.*?)\)", (TOOL / "__main__.py").read_text(), re.DOTALL
    )
    assert named is not None
    crates = re.findall(r'"([\w-]+)"', named[1])
    assert sorted(crates) == sorted(
        path.parent.name
        for path in ROOT.glob("crates/*/Cargo.toml")
        if path.parent.name != "procession-python"  # It is published as wheels.
    )
    for number, name in enumerate(crates):
        manifest = tomllib.loads((ROOT / "crates" / name / "Cargo.toml").read_text())
        needed = {
            one for one in manifest.get("dependencies", {}) if one.startswith("proc")
        }
        assert needed & set(crates) <= set(crates[:number])
        for field in ("description", "readme", "documentation", "keywords"):
            assert field in manifest["package"], name


def test_the_workflow_runs_targets_that_there_are() -> None:
    workflow = (ROOT / ".github/workflows/check.yml").read_text()
    targets = re.findall(r"run: make ([\w-]+)", workflow)
    assert {"check", "release-check"} <= set(targets)
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_wheels_are_built_after_a_profile(tmp_path) -> None:
    code, out = check(tmp_path, "wheels", "--strict")
    assert code == 1
    assert "wheels: left out: there is no profile" in out


def test_profile_names_the_tool_that_it_needs(tmp_path) -> None:
    compiler = tmp_path / "rustc"
    compiler.write_text(
        f'#!/bin/sh\n[ "$1" = --print ] && echo {tmp_path} || echo "host: any-machine"\n'
    )
    compiler.chmod(0o755)
    done = subprocess.run(
        [sys.executable, TOOL, "--root", tmp_path, "--only", "profile"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )
    assert "profile: left out: rustup component add llvm-tools" in done.stdout
