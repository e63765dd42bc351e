//! Any words in the ring of a thread that is traced: the file that is written is JSON, and ends.

#![no_main]

use std::path::PathBuf;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use procession_engine::trace::write_raw;
use procession_trace::Trace;

/// What a thread writes.
#[derive(Arbitrary, Debug)]
struct Step {
    kind: u8,
    words: [Word; 7],
    /// How many records the ring says to have behind this one.
    beyond: Option<Word>,
    tasks: Option<[Word; 6]>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Word {
    Any(u64),
    Few(u8),
    Last,
}

impl Word {
    fn value(self) -> u64 {
        match self {
            Self::Any(word) => word,
            Self::Few(word) => word.into(),
            Self::Last => u64::MAX,
        }
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let name = format!("procession-fuzz-{}.json", std::process::id());
    let path = PathBuf::from("/dev/shm").join(name);
    let mut trace = Trace::begin(&path).unwrap();
    for step in steps {
        let mut record = [u64::from(step.kind % 9), 0, 0, 0, 0, 0, 0, 0];
        for (word, value) in record[1..].iter_mut().zip(step.words) {
            *word = value.value();
        }
        let beyond = step.beyond.map_or(0, Word::value);
        let tasks = step.tasks.map_or([0; 6], |tasks| tasks.map(Word::value));
        write_raw(record, beyond, tasks);
    }
    trace.end().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let events = file["traceEvents"].as_array().unwrap();
    assert_eq!(events.last().unwrap()["name"], "trace_complete");
});
