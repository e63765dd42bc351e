//! Where the threads of a process are: by py-spy where that is installed, and else by the kernel.
//!
//! py-spy reads the memory of the process and does not stop it, so that nothing is left stopped if
//! this program is killed. It may miss a thread that goes on meanwhile, and says so.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

/// What was asked of a process, and what has come of it.
#[derive(Debug)]
pub struct Stack {
    pub pid: u32,
    pub text: String,
    /// The first line that is shown.
    pub first: u16,
    answer: Receiver<String>,
}

impl Stack {
    /// Asks in a thread of its own: py-spy takes a while.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn ask(pid: u32) -> io::Result<Self> {
        let (tell, answer) = mpsc::channel();
        thread::Builder::new()
            .name("procession-stack".into())
            // Nobody is there to be told if the user has left it.
            .spawn(move || _ = tell.send(look(pid)))?;
        Ok(Self {
            pid,
            text: format!("asking for the stack of process {pid}"),
            first: 0,
            answer,
        })
    }

    /// Takes the answer if it is there.
    pub fn receive(&mut self) {
        if let Ok(text) = self.answer.try_recv() {
            self.text = text;
        }
    }

    pub fn scroll(&mut self, by: i16) {
        let last = self.text.lines().count().saturating_sub(1);
        let last = u16::try_from(last).unwrap_or(u16::MAX);
        self.first = self.first.saturating_add_signed(by).min(last);
    }
}

fn look(pid: u32) -> String {
    let asked = Command::new("py-spy")
        .args(["dump", "--nonblocking", "--pid", &pid.to_string()])
        .stdin(Stdio::null())
        .output();
    match asked {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            format!("py-spy says: {}\n\n{}", why.trim(), threads(pid))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => format!(
            "{}\n\nFunctions of Python are shown if py-spy is installed (pip install py-spy).",
            threads(pid)
        ),
        Err(error) => format!("py-spy cannot be run: {error}\n\n{}", threads(pid)),
    }
}

/// Returns a line for each thread: what the kernel says that it does.
fn threads(pid: u32) -> String {
    let Ok(found) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return format!("process {pid} has ended");
    };
    let mut lines: Vec<_> = found
        .flatten()
        .filter_map(|entry| {
            let read = |name| fs::read_to_string(entry.path().join(name)).ok();
            let number = entry.file_name().to_str()?.parse::<u32>().ok()?;
            let (name, stat) = (read("comm")?, read("stat")?);
            // The name of the program may have spaces and parentheses; what follows has none.
            let state = match stat.rsplit_once(") ")?.1.get(..1)? {
                "R" => "runs, or waits for a processor".into(),
                "T" | "t" => "is stopped".into(),
                "Z" | "X" => "has ended".into(),
                _ => match read("wchan").as_deref() {
                    Some("0" | "") | None => "sleeps in the kernel".to_owned(),
                    Some(place) => format!("sleeps in {place}"),
                },
            };
            Some((
                number,
                format!("thread {number} {}: {state}", name.trim_end()),
            ))
        })
        .collect();
    lines.sort();
    let lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
    lines.join("\n")
}
