//! A program that forgets `procession::init()`: a binary of its own, because
//! any other test of it would have called it.

use procession::{Error, Pool, Process, StartMethod};

fn must_name_the_remedy(error: &Error) {
    assert!(error.is_uninitialised(), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("procession::init()") && text.contains("#[procession::main]"),
        "{text}"
    );
}

#[test]
fn forgetting_init_is_told_at_the_first_start() {
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let process = Process::new(|| 1).start_method(method);
        must_name_the_remedy(&process.start().unwrap_err());
        let builder = Pool::builder().workers(1).start_method(method);
        must_name_the_remedy(&builder.start().unwrap_err());
    }
    assert!(procession::active_children().is_empty());
}
