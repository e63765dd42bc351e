//! Three stages with bounded queues between them: whoever is ahead waits, and nothing is polled.
//! The end of the input travels through as the end of the queues.

use procession::{Process, Queue, Result};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Reading {
    station: String,
    degrees: f64,
}

/// Makes lines, as a file or a socket would have them.
fn read(lines: Queue<String>) -> Result<()> {
    for hour in 0..1000 {
        let station = ["north", "south"][hour % 2];
        lines.put(format!("{station};{}", hour % 30))?;
        if hour % 100 == 99 {
            lines.put("garbled".to_owned())?;
        }
    }
    lines.close()
}

/// Makes readings of lines; there may be several of it.
fn parse(lines: Queue<String>, readings: Queue<Reading>) -> Result<u64> {
    let mut refused = 0;
    for line in &lines {
        let line = line?;
        let reading = line.split_once(';').and_then(|(station, degrees)| {
            let degrees = degrees.parse().ok()?;
            Some(Reading {
                station: station.to_owned(),
                degrees,
            })
        });
        match reading {
            Some(reading) => readings.put(reading)?,
            None => refused += 1,
        }
    }
    Ok(refused)
}

fn hottest(readings: Queue<Reading>) -> Result<Option<Reading>> {
    let mut hottest: Option<Reading> = None;
    for reading in &readings {
        let reading = reading?;
        if hottest
            .as_ref()
            .is_none_or(|other| other.degrees < reading.degrees)
        {
            hottest = Some(reading);
        }
    }
    Ok(hottest)
}

#[procession::main]
fn main() -> Result<()> {
    let lines = Queue::bounded(64)?;
    let readings = Queue::bounded(64)?;
    // What a stage returns crosses, and an error of procession does not; its text does.
    let reader = Process::new(|lines| read(lines).map_err(|e| e.to_string()))
        .name("read")
        .args(lines.clone())
        .start()?;
    let parsers = (0..2)
        .map(|number| {
            Process::new(|lines, readings| parse(lines, readings).map_err(|e| e.to_string()))
                .name(format!("parse-{number}"))
                .args((lines.clone(), readings.clone()))
                .start()
        })
        .collect::<Result<Vec<_>>>()?;
    let finder = Process::new(|readings| hottest(readings).map_err(|e| e.to_string()))
        .name("hottest")
        .args(readings.clone())
        .start()?;

    reader.join()?.expect("the reader");
    let mut refused = 0;
    for parser in parsers {
        refused += parser.join()?.expect("a parser");
    }
    // All that parse have ended: no more will be put.
    readings.close()?;
    if let Some(Reading { station, degrees }) = finder.join()?.expect("the finder") {
        println!("hottest: {degrees} degrees in the {station}, {refused} lines refused");
    }
    Ok(())
}
