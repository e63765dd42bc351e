"""The layering check finds what it is there to find, and nothing in comments, strings and tests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGINE = "crates/procession-engine/src"
SYS = "crates/procession-sys/src"
SHM = "crates/procession-shm/src"


# What the small tree says of itself: dependencies, folders, and a global.
PAGE = """
`libc`, `serde`, `postcard`
`crates/procession-sys`, `crates/procession-shm`
`crates/procession-engine`, `crates/procession`, `crates/procession-python`
`wait`, `alloc`, `sync`, `channel`
`python/procession`
| `FAMILY` | `family.rs` |
"""


class Checkout:
    """A small tree that keeps every rule until a test plants a fault in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for crate in (
            "procession-sys",
            "procession-shm",
            "procession-engine",
            "procession",
            "procession-python",
        ):
            self.write(f"crates/{crate}/Cargo.toml", f'[package]\nname = "{crate}"\n')
            self.write(f"crates/{crate}/src/lib.rs", f"//! {crate}.\n")
        self.write(f"{SHM}/family.rs", "//! Family.\n")
        self.write(f"{ENGINE}/sync/lock.rs", "//! Lock.\nuse crate::sync::me;\n")
        self.write(
            "crates/procession/src/gadget.rs",
            "//! Gadget.\npub struct Gadget;\ntype Result = ();\n",
        )
        self.write("python/procession/__init__.py", '"""The package."""\n')
        self.write("ARCHITECTURE.md", PAGE)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def faults(self) -> list[str]:
        command = [sys.executable, ROOT / "tools/layers", "--root", self.root]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=60
        )
        faults = done.stderr.splitlines()
        assert done.returncode == bool(faults), done.stderr
        return faults


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_clean_tree_passes(checkout: Checkout) -> None:
    checkout.write(
        f"{SHM}/alloc/mod.rs", "//! Alloc.\nuse procession_sys::wait::time;\n"
    )
    checkout.write(f"{SYS}/wait/mod.rs", "//! Waiting.\nuse libc::c_int;\n")
    assert checkout.faults() == []


FAULTS = {
    "engine_depends_on_serde": (
        "crates/procession-engine/Cargo.toml",
        '[package]\nname = "procession-engine"\n[dependencies]\nserde = "1"\n',
        ":4: procession-engine depends on serde",
    ),
    "engine_depends_on_renamed_postcard": (
        "crates/procession-engine/Cargo.toml",
        '[package]\nname = "procession-engine"\n[target.x.dependencies]\nwire = { package = "postcard" }\n',
        "procession-engine depends on postcard",
    ),
    "face_depends_on_face": (
        "crates/procession-python/Cargo.toml",
        '[package]\nname = "procession-python"\n[dependencies]\nprocession.workspace = true\n',
        ":4: procession-python depends on procession",
    ),
    "lower_crate_depends_on_upper": (
        "crates/procession-shm/Cargo.toml",
        '[package]\nname = "procession-shm"\n[dependencies]\nprocession-engine.workspace = true\n',
        ":4: procession-shm depends on procession-engine",
    ),
    "system_call_library_above_sys": (
        "crates/procession-engine/Cargo.toml",
        '[package]\nname = "procession-engine"\n[dependencies]\nlibc = "0.2"\n',
        ":4: procession-engine depends on libc",
    ),
    "sync_uses_pool": (
        f"{ENGINE}/sync/mod.rs",
        "//! Sync.\n\nuse crate::pool::Pool;\n",
        ":3: sync uses pool, which is above it",
    ),
    "arrow_in_group": (
        f"{ENGINE}/sync/lock.rs",
        "//! Lock.\nuse crate::{\n    channel::{queue, process},\n    launch::spawn,\n};\n",
        ":2: sync uses launch, which is above it",
    ),
    "arrow_by_super": (
        f"{ENGINE}/sync/event.rs",
        "//! Event.\nmod inner {\n    use super::super::super::pool::Pool;\n}\n",
        ":3: sync uses pool, which is above it",
    ),
    "arrow_in_the_middle_of_code": (
        f"{ENGINE}/sync/event.rs",
        "//! Event.\nfn f() { crate::pool::g() }\n",
        ":2: sync uses pool, which is above it",
    ),
    "module_without_level": (
        f"{ENGINE}/gadgets.rs",
        "//! Gadgets.\n",
        ":1: gadgets is on no level",
    ),
    "system_call_outside_sys": (
        f"{ENGINE}/sync/lock.rs",
        "//! Lock.\nfn f() { libc::getpid(); }\n",
        ":2: libc outside crates/procession-sys",
    ),
    "platform_switch_in_a_face": (
        "crates/procession/src/pool.rs",
        '//! Pool.\n#[cfg(target_os = "linux")]\nfn f() {}\n',
        ":2: target_os outside crates/procession-sys",
    ),
    "python_in_the_rust_face": (
        "crates/procession/src/pool.rs",
        "//! Pool.\nuse pyo3::Python;\n",
        ":2: pyo3 outside crates/procession-python",
    ),
    "unsafe_on_one_item": (
        f"{ENGINE}/sync/lock.rs",
        '//! Lock.\n#[expect(unsafe_code, reason = "x")]\nfn f() {}\n',
        ":2: unsafe code is allowed on one item",
    ),
    "unsafe_without_terms": (
        f"{ENGINE}/sync/lock.rs",
        '//! Lock.\n#![expect(unsafe_code, reason = "x")]\n',
        ":2: unsafe code without terms",
    ),
    "native_module_outside_wrappers": (
        "python/procession/gadgets.py",
        '"""Gadgets."""\nfrom . import _procession\n',
        ":2: gadgets imports the native module",
    ),
    "native_name_outside_wrappers": (
        "python/procession/gadgets.py",
        '"""Gadgets."""\nfrom ._procession import Lock\n',
        ":2: gadgets imports the native module",
    ),
    "standard_library_in_the_package": (
        "python/procession/gadgets.py",
        '"""Gadgets."""\n\n\ndef f():\n    import multiprocessing.pool\n',
        ":5: gadgets imports the standard library's multiprocessing.pool",
    ),
    "standard_library_by_name": (
        "python/procession/gadgets.py",
        '"""Gadgets."""\nimport importlib\nimportlib.import_module("multiprocessing")\n',
        ":3: gadgets imports the standard library's multiprocessing",
    ),
    "other_machines_in_what_is_local": (
        "python/procession/gadgets.py",
        '"""Gadgets."""\n\n\ndef f():\n    from .distributed import context_of\n',
        ":5: gadgets imports procession.distributed.context_of",
    ),
    "other_machines_before_they_are_asked_for": (
        "python/procession/context.py",
        '"""Contexts."""\nfrom .distributed import context_of\n',
        ":2: context imports procession.distributed.context_of",
    ),
    "dependency_without_a_reason": (
        "crates/procession/Cargo.toml",
        '[package]\nname = "procession"\n[dependencies]\ngadgets = "1"\n',
        ":4: ARCHITECTURE.md does not name the dependency gadgets",
    ),
    "global_that_nobody_knows": (
        "crates/procession/src/pool.rs",
        "//! Pool.\nstatic POOLS: Mutex<()> = Mutex::new(());\n",
        ":2: ARCHITECTURE.md does not name the global POOLS",
    ),
    "global_of_another_file": (
        "crates/procession/src/pool.rs",
        "//! Pool.\nstatic FAMILY: Mutex<()> = Mutex::new(());\n",
        ":2: ARCHITECTURE.md does not name the global FAMILY",
    ),
    "global_of_python": (
        "python/procession/gadgets.py",
        '"""Gadgets."""\nx = 1\n\n\ndef f():\n    global x\n    x = 2\n',
        ":6: ARCHITECTURE.md does not name the global x",
    ),
    "folder_that_nobody_knows": (
        "tools/gadgets/__main__.py",
        '"""Gadgets."""\n',
        ":1: ARCHITECTURE.md does not name this folder",
    ),
    "circle_of_files": (
        f"{ENGINE}/sync/mod.rs",
        "//! Sync.\nmod circle_a {\n    use crate::sync::lock::Lock;\n}\n",
        ":1: sync, sync::lock use one another",
    ),
    "circle_of_files_in_a_tree_of_imports": (
        f"{ENGINE}/sync/mod.rs",
        "//! Sync.\nmod circle_b {\n    use crate::{\n        Task,\n        sync::{lock::{self, Lock}},\n    };\n}\n",
        ":1: sync, sync::lock use one another",
    ),
    "file_that_a_comment_names": (
        f"{ENGINE}/sync/event.rs",
        "//! Event; its words are in `gone.rs`, its lock is in `lock.rs`.\n",
        ":1: there is no gone.rs",
    ),
    "type_name_of_two_things": (
        "crates/procession/src/gadgets.rs",
        "//! Gadgets.\nmod inner;\nstruct Gadget;\ntype Result = ();\n",
        ":3: Gadget is also a type of crates/procession/src/gadget.rs",
    ),
    "file_without_header": (
        f"{ENGINE}/sync/lock.rs",
        "// A comment is no header.\nfn f() {}\n",
        ":1: no header",
    ),
    "long_rust_file": (
        f"{ENGINE}/sync/lock.rs",
        "//! Lock.\n" + "fn f() {}\n" * 501,
        ":1: 501 lines of code",
    ),
    "long_python_file": (
        "python/procession/gadgets.py",
        '"""Gadgets."""\n' + "x = 1\n" * 501,
        ":1: 501 lines of code",
    ),
}


@pytest.mark.parametrize(
    ("path", "text", "message"), FAULTS.values(), ids=FAULTS.keys()
)
def test_planted_fault_is_found(
    checkout: Checkout, path: str, text: str, message: str
) -> None:
    checkout.write(path, text)
    faults = checkout.faults()
    assert len(faults) == 1
    assert faults[0].startswith((path, path.rpartition("/")[0]))
    assert message in faults[0]


def test_siblings_may_not_use_one_another(checkout: Checkout) -> None:
    checkout.write(f"{ENGINE}/channel/queue.rs", "//! Queue.\nuse crate::sync::Lock;\n")
    assert checkout.faults() == []
    checkout.write(f"{ENGINE}/sync/lock.rs", "//! Lock.\nuse crate::channel::Queue;\n")
    assert ["use one another" in fault for fault in checkout.faults()] == [True, True]


def test_name_reexported_by_the_root_keeps_its_level(checkout: Checkout) -> None:
    checkout.write(f"{ENGINE}/lib.rs", "//! Engine.\npub use pool::{Pool, Task};\n")
    checkout.write(f"{ENGINE}/sync/mod.rs", "//! Sync.\nuse crate::Task;\n")
    assert "sync uses pool" in "\n".join(checkout.faults())


HARMLESS = {
    "comment": "// libc::getpid() and crate::pool::Pool\n",
    "nested_comment": "/* /* crate::pool */ libc::getpid() */\n",
    "string": 'const A: &str = "crate::pool libc::x \\" crate::pool::y";\n',
    "raw_string": 'const A: &str = r#"crate::pool " libc::x"#;\n',
    "quote_character": "const A: char = '\"'; // libc::x\nconst B: char = '\"';\n",
    "lifetime": "fn f<'a>(x: &'a str) -> &'a str { x } // libc::x\n",
    "name_that_ends_like_a_raw_string": "fn f() { for r in 0..1 { let _ = r; } }\n",
    "test_module": "#[cfg(test)]\nmod tests {\n    use crate::pool::Pool;\n    use libc::x;\n}\n",
    "test_function": "#[test]\nfn f() { libc::getpid(); }\n",
    "constant": "static ZEROS: [u8; 8] = [0; 8];\n",
    "loom_twin": "#[cfg(loom)]\nmod imp { use crate::pool::Pool; }\n",
    "test_without_loom": "#[cfg(all(test, not(loom)))]\nmod tests { use crate::pool::Pool; }\n",
    "glossary_names_a_file_that_is_gone": (
        "docs/glossary.md",
        (
            "| word | `procession-shm/src/family.rs`, `lib.rs` |\n"
            "| other | `procession-shm/src/families.rs` |\n"
        ),
        "docs/glossary.md:2: there is no procession-shm/src/families.rs",
    ),
    "loom_test": "#[cfg(all(test, loom))]\nmod loom_tests { use crate::pool::Pool; }\n",
}


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_is_not_shipped_code_is_left_alone(checkout: Checkout, text: str) -> None:
    checkout.write(f"{ENGINE}/sync/mod.rs", f"//! Sync.\n{text}")
    assert checkout.faults() == []


def test_code_that_tests_leave_out_is_checked(checkout: Checkout) -> None:
    checkout.write(
        f"{ENGINE}/sync/mod.rs",
        "//! Sync.\n#[cfg(not(test))]\nuse crate::pool::Pool;\n",
    )
    assert len(checkout.faults()) == 1


def test_file_of_a_test_module_is_left_alone(checkout: Checkout) -> None:
    checkout.write(f"{ENGINE}/sync/mod.rs", "//! Sync.\n#[cfg(test)]\nmod kill;\n")
    checkout.write(f"{ENGINE}/sync/kill.rs", "//! Killing.\nuse crate::pool::Pool;\n")
    assert checkout.faults() == []


def test_long_file_may_say_why(checkout: Checkout) -> None:
    checkout.write(
        f"{ENGINE}/sync/lock.rs",
        "//! Lock.\n//!\n//! Size: one table.\n" + "fn f() {}\n" * 501,
    )
    assert checkout.faults() == []


def test_global_that_is_known_passes(checkout: Checkout) -> None:
    text = "//! Family.\nstatic FAMILY: OnceLock<Family> = OnceLock::new();\n"
    checkout.write(f"{SHM}/family.rs", text)
    assert checkout.faults() == []


def test_page_names_what_exists(checkout: Checkout) -> None:
    checkout.write(
        "ARCHITECTURE.md",
        f"{PAGE}\n`alloc/blocks.rs`, `family.rs`\n",
    )
    assert ["there is no alloc/blocks.rs" in fault for fault in checkout.faults()] == [
        True
    ]


def test_tests_may_know_more(checkout: Checkout) -> None:
    manifest = '[package]\nname = "procession"\n[dev-dependencies]\nlibc = "0.2"\n'
    checkout.write("crates/procession/Cargo.toml", manifest)
    assert checkout.faults() == []
