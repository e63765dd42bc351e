//! Every example in Rust prints what it should.
//!
//! What that is stands in `examples/expected`, in the notation that
//! `examples/README.md` describes.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Long enough for a slow machine, short enough for a watchdog.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn every_example_prints_what_is_expected() {
    for name in names("rust", "rs") {
        let expected = fs::read_to_string(examples().join(format!("expected/{name}.txt"))).unwrap();
        let printed = run(&name);
        if let Some(difference) = difference(&expected, &printed) {
            panic!("{name}: {difference}\n--- printed\n{printed}");
        }
    }
}

#[test]
fn the_examples_are_the_same_in_both_languages() {
    assert_eq!(names("rust", "rs"), names("python", "py"));
    assert_eq!(names("rust", "rs"), names("expected", "txt"));
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// Returns the names of the programs in a folder.
fn names(folder: &str, extension: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(examples().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// Runs an example to its end; returns what it printed.
fn run(name: &str) -> String {
    // Test programs lie in `deps`, beside the folder of the examples.
    let here = std::env::current_exe().unwrap();
    let program = here.ancestors().nth(2).unwrap().join("examples").join(name);
    let child = Command::new(&program)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            let program = program.display();
            panic!("{program}: {error} (`cargo build --examples` makes it)")
        });
    let pid = child.id().to_string();
    // The output ends when nobody holds the pipes any more: none of the
    // example's processes may outlive it.
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let output = ended.recv_timeout(SOON).unwrap_or_else(|_| {
        Command::new("kill").args(["-KILL", &pid]).status().unwrap();
        panic!("{name} hangs, or a process of it does");
    });
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name} ended with {}\n{told}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Tells the first line that is not as expected.
fn difference(expected: &str, printed: &str) -> Option<String> {
    let wanted: Vec<&str> = expected
        .lines()
        .filter(|line| !line.starts_with("[multiprocessing] "))
        .map(|line| line.strip_prefix("[procession] ").unwrap_or(line))
        .collect();
    let got: Vec<&str> = printed.lines().collect();
    let mut numbers = HashMap::new();
    for (want, have) in wanted.iter().zip(&got) {
        if !matches(want, have, &mut numbers) {
            return Some(format!(
                "{have:?} where {want:?} is expected, with {numbers:?}"
            ));
        }
    }
    let mut different: Vec<&String> = numbers.values().collect();
    different.sort();
    different.dedup();
    if different.len() != numbers.len() {
        return Some(format!("different names for one number: {numbers:?}"));
    }
    (wanted.len() != got.len())
        .then(|| format!("{} lines where {} are expected", got.len(), wanted.len()))
}

/// Compares a line; `numbers` says what each `<name>` was found to stand for.
fn matches(want: &str, have: &str, numbers: &mut HashMap<String, String>) -> bool {
    let Some((text, name, want)) = want
        .split_once('<')
        .and_then(|(text, rest)| rest.split_once('>').map(|(name, rest)| (text, name, rest)))
    else {
        return want == have;
    };
    let Some(have) = have.strip_prefix(text) else {
        return false;
    };
    let end = have
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(have.len());
    let (number, have) = have.split_at(end);
    let known = numbers
        .entry(name.to_owned())
        .or_insert_with(|| number.to_owned());
    !number.is_empty() && known == number && matches(want, have, numbers)
}

#[test]
fn a_wrong_line_is_told() {
    assert_eq!(difference("pid <a> of <b>\n", "pid 12 of 7\n"), None);
    assert_eq!(
        difference("[multiprocessing] a\n[procession] b\n", "b\n"),
        None
    );
    for (expected, printed) in [
        ("pid <a>\npid <a>\n", "pid 1\npid 2\n"),
        ("pid <a>\npid <b>\n", "pid 1\npid 1\n"),
        ("pid <a>\n", "pid x\n"),
        ("one\n", "one\ntwo\n"),
        ("one\n", "two\n"),
    ] {
        assert!(difference(expected, printed).is_some(), "{printed}");
    }
}
