//! What everybody did: lines of 64 bytes, as `tests/chaos/ledger.py` tells.

#![expect(clippy::disallowed_types, reason = "it is set before there is a child")]

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::OnceLock;

/// The environment variable that tells everybody where the ledger is.
const VARIABLE: &str = "PROCESSION_CHAOS_LEDGER";

/// Bytes of a line, its end included.
const SIZE: usize = 64;

static FILE: OnceLock<File> = OnceLock::new();

/// Opens the ledger, in the program; what it starts finds it by a variable.
pub fn open(path: &str) {
    let args: Vec<_> = std::env::args_os().collect();
    assert!(args.len() > 1, "the conductor gives the path");
    let _ = FILE.set(append(path));
}

/// Appends a line by one call.
pub fn note(what: &str, tag: &str, number: u64, more: impl Display) {
    let path = || std::env::var(VARIABLE).expect("the conductor sets it");
    let mut file = FILE.get_or_init(|| append(&path()));
    let line = format!("{what} {} {tag} {number} {more}", std::process::id());
    let width = SIZE - 1;
    let line = format!("{line:<width$.width$}\n");
    file.write_all(line.as_bytes())
        .expect("the ledger takes it");
}

fn append(path: &str) -> File {
    let file = OpenOptions::new().append(true).open(path);
    file.expect("the conductor made the ledger")
}
