//! Counts words on other machines.
//!
//! Start a server (`nats-server -js`) and some nodes (`PROCESSION_NODE=nats://localhost:4222
//! word_count`), then `word_count FILE…`.

use std::collections::HashMap;

use procession::{Pool, Result};

type Counts = HashMap<String, u64>;

/// Runs on a node.
fn count(text: String) -> Counts {
    let mut counts = Counts::new();
    for word in text.split_whitespace() {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    counts
}

fn main() -> Result<()> {
    procession_nats::init();
    let files = std::env::args().skip(1);
    let texts: std::io::Result<Vec<String>> = files.map(std::fs::read_to_string).collect();
    let texts = texts.expect("the files can be read");
    let pool = Pool::on(procession_nats::connect("nats://localhost:4222")?)?;
    let mut total = Counts::new();
    for counts in pool.imap_unordered(count, texts) {
        for (word, times) in counts? {
            *total.entry(word).or_default() += times;
        }
    }
    let mut total: Vec<_> = total.into_iter().collect();
    total.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    for (word, times) in total.iter().take(10) {
        println!("{times:>8} {word}");
    }
    Ok(())
}
