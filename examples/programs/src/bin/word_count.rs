//! Counts the words of all files below a folder, in as many processes as there are processors.
//!
//! `word_count [FOLDER]`; without one it counts its own sources.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use procession::{IntoParProcesses, Pool};

/// Words that do not count.
type StopWords = HashSet<String>;

fn count_words(stop_words: &StopWords, path: PathBuf) -> Result<usize, String> {
    let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = String::from_utf8_lossy(&text);
    let words = text.split(|c: char| !c.is_alphanumeric());
    let words = words.filter(|word| !word.is_empty() && !stop_words.contains(*word));
    Ok(words.count())
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files_below(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[procession::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let folder = std::env::args().nth(1).unwrap_or_else(|| own.to_owned());
    let mut files = Vec::new();
    files_below(Path::new(&folder), &mut files)?;
    let stop_words: StopWords = ["the", "a", "of", "and"].map(str::to_owned).into();

    let pool = Pool::builder().start()?;
    let bar = ProgressBar::new(files.len() as u64);
    let mut total = 0;
    let counts = files
        .into_par_processes(&pool)
        .unordered()
        .map_with(&stop_words, count_words);
    for count in bar.wrap_iter(counts) {
        // The outer error is that of a process, the inner one that of a file.
        match count? {
            Ok(count) => total += count,
            Err(unreadable) => bar.println(unreadable),
        }
    }
    println!("{total} words");
    Ok(())
}
