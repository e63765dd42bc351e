//! A program that forgets `procession::init()`: a binary of its own, because any other test of
//! it would have called it. Cargo's test programs need not call it, so it is a copy of this one,
//! elsewhere, that is looked at.

use std::path::Path;
use std::process::Command;

use procession::{Error, Pool, Process, StartMethod};

fn must_name_the_remedy(error: &Error) {
    assert!(error.is_uninitialised(), "{error}");
    let text = error.to_string();
    for remedy in [
        "procession::init()",
        "#[procession::main]",
        "init_in_library()",
    ] {
        assert!(text.contains(remedy), "{text}");
    }
}

#[test]
fn forgetting_init_is_told_at_the_first_start() {
    let own = std::env::current_exe().unwrap();
    if own.parent().unwrap().ends_with("deps") {
        let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("uninitialised");
        std::fs::copy(own, &copy).unwrap();
        let status = Command::new(&copy).status().unwrap();
        std::fs::remove_file(copy).unwrap();
        assert!(status.success());
        return;
    }
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let process = Process::new(|| 1).start_method(method);
        must_name_the_remedy(&process.start().unwrap_err());
        let builder = Pool::builder().workers(1).start_method(method);
        must_name_the_remedy(&builder.start().unwrap_err());
    }
    assert!(procession::active_children().is_empty());
}
