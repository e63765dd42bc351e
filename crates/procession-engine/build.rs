//! Gives the build a number of its own, by which members of one family know that they
//! run the same: it is made of every line of the engine and of the crates under it.

use std::fs;
use std::path::{Path, PathBuf};

/// Those of a registry are not there; what the engine depends on by `=` is of its version.
const SOURCES: [&str; 3] = ["src", "../procession-shm/src", "../procession-sys/src"];

fn main() {
    let mut files = Vec::new();
    for folder in SOURCES.map(Path::new) {
        if folder.is_dir() {
            list(folder, &mut files);
            println!("cargo::rerun-if-changed={}", folder.display());
        }
    }
    files.sort();
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    for file in &files {
        hash.add(file.to_string_lossy().as_bytes());
        hash.add(&fs::read(file).expect("a file that was listed is read"));
    }
    for variable in [
        "CARGO_PKG_VERSION",
        "CARGO_CFG_TARGET_ARCH",
        "CARGO_CFG_FEATURE",
    ] {
        hash.add(std::env::var(variable).unwrap_or_default().as_bytes());
    }
    println!("cargo::rustc-env=PROCESSION_BUILD={}", hash.0);
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("the sources are there").path();
        match path.is_dir() {
            true => list(&path, files),
            false => files.push(path),
        }
    }
}

/// The hash of Fowler, Noll and Vo: nobody tries to break it.
struct Fnv(u64);

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
