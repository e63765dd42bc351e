//! What the compiler says to a program that asks for what cannot be.
//!
//! The texts are those of one version of the compiler, each of which words them anew; with
//! another nothing is compared. After a change that was meant,
//! `TRYBUILD=overwrite cargo test -p procession --test compile_errors` writes them.

use std::process::Command;

/// Whose texts are in `tests/ui`.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn each_mistake_is_told_where_it_was_made() {
    let asked = Command::new("rustc").arg("--version").output();
    let version = String::from_utf8(asked.expect("rustc starts").stdout).expect("plain text");
    if !version.starts_with(COMPILER) {
        eprintln!("not compared: this is {version}, and the texts are those of {COMPILER}x");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/works.rs");
    for name in [
        "captures_reference",
        "captures_owned",
        "captures_number",
        "function_pointer",
        "argument_without_serde",
        "queue_without_serde",
        "async_main",
        "async_test",
        "main_elsewhere",
        "start_without_arguments",
        "wrong_argument",
    ] {
        cases.compile_fail(format!("tests/ui/{name}.rs"));
    }
}
