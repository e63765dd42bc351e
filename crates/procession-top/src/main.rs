//! The program `procession`: what families of processes do, in a terminal.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use procession_top::{Look, Source, json, openmetrics, text, top};

/// Shows the processes, pools and queues of programs that use procession.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists them once.
    Ps(What),
    /// Shows them in this terminal until you leave.
    Top(What),
}

#[derive(Args)]
struct What {
    /// The family of this process; by default all of this user.
    pid: Option<u32>,
    /// Print JSON, once.
    #[arg(long)]
    json: bool,
    /// Print metrics as OpenMetrics text, once.
    #[arg(long, conflicts_with = "json")]
    openmetrics: bool,
    /// Print text, once.
    #[arg(long)]
    once: bool,
}

fn main() -> ExitCode {
    let (what, is_top) = match Cli::parse().command {
        Command::Ps(what) => (what, false),
        Command::Top(what) => (what, true),
    };
    let source = what.pid.map_or(Source::All, Source::Process);
    let is_once = what.once || what.json || what.openmetrics;
    let done = if is_top && !is_once {
        top(source)
    } else {
        let look = Look::once(source).map_err(std::io::Error::other);
        look.map(|look| match &what {
            What { json: true, .. } => println!("{}", json(&look)),
            What {
                openmetrics: true, ..
            } => print!("{}", openmetrics(&look)),
            _ => print!("{}", text(&look)),
        })
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("procession: {error}");
            ExitCode::FAILURE
        }
    }
}
