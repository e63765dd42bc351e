//! The state of the view: what it shows of a look, and what keys change.

use std::collections::HashSet;

use procession_engine::process::child::{KILL, TERMINATE};
use procession_engine::sys::process::pidfd::PidFd;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::look::Look;
use crate::stack::Stack;
use crate::tree::{Branch, Order, branches};

/// What is shown, and how.
#[derive(Debug)]
pub struct App {
    pub look: Look,
    pub order: Order,
    pub folded: HashSet<u32>,
    /// Shows only processes whose name, number or wait contains this text, and their parents.
    pub filter: String,
    /// The chosen process.
    pub chosen: Option<u32>,
    pub mode: Mode,
    /// The stack that is shown in place of the processes.
    pub stack: Option<Stack>,
    /// The message in the bottom line.
    pub message: String,
    pub is_paused: bool,
}

/// What the next key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Normal,
    /// The filter is being written.
    Filter,
    /// A process is to get a signal, if the answer is yes.
    Signal {
        pid: u32,
        number: i32,
    },
}

/// Whether the view goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    GoOn,
    Leave,
}

impl App {
    pub fn new(look: Look) -> Self {
        Self {
            look,
            order: Order::Age,
            folded: HashSet::new(),
            filter: String::new(),
            chosen: None,
            mode: Mode::Normal,
            stack: None,
            message: String::new(),
            is_paused: false,
        }
    }

    /// Returns the processes that are shown, by family.
    pub fn shown(&self) -> Vec<Vec<Branch<'_>>> {
        let families = self.look.families.iter();
        families
            .map(|family| {
                let mut all = branches(&family.members, self.order, &self.folded);
                if !self.filter.is_empty() {
                    all.retain(|branch| self.matches(branch));
                }
                all
            })
            .collect()
    }

    fn matches(&self, branch: &Branch<'_>) -> bool {
        let member = branch.member;
        let waits_for = member.waits_for.as_deref().unwrap_or_default();
        let texts = [member.name.as_str(), waits_for, member.state];
        let number = member.pid.to_string();
        texts.iter().any(|text| text.contains(&self.filter)) || number.contains(&self.filter)
    }

    /// Does what a key is for.
    pub fn press(&mut self, key: KeyEvent) -> Next {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Next::Leave;
        }
        if let Some(stack) = &mut self.stack {
            match key.code {
                KeyCode::Down => stack.scroll(1),
                KeyCode::Up => stack.scroll(-1),
                KeyCode::PageDown => stack.scroll(10),
                KeyCode::PageUp => stack.scroll(-10),
                _ => self.stack = None,
            }
            return Next::GoOn;
        }
        match self.mode {
            Mode::Filter => self.write_filter(key.code),
            Mode::Signal { pid, number } => self.answer(key.code, pid, number),
            Mode::Normal => return self.command(key.code),
        }
        Next::GoOn
    }

    fn write_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char(letter) => self.filter.push(letter),
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Normal;
            }
            KeyCode::Enter => self.mode = Mode::Normal,
            _ => {}
        }
    }

    fn answer(&mut self, code: KeyCode, pid: u32, number: i32) {
        self.mode = Mode::Normal;
        if code != KeyCode::Char('y') {
            self.message = format!("process {pid} gets no signal");
            return;
        }
        let sent = PidFd::open(pid).and_then(|process| process.send_signal(number));
        self.message = match sent {
            Ok(true) => format!("process {pid} was sent {}", signal_name(number)),
            Ok(false) => format!("process {pid} has ended"),
            Err(error) => error.to_string(),
        };
    }

    fn command(&mut self, code: KeyCode) -> Next {
        self.message.clear();
        match code {
            KeyCode::Char('q') | KeyCode::Esc => return Next::Leave,
            KeyCode::Char('s') => {
                self.order = self.order.next();
                self.message = format!("sorted by {}", self.order.word());
            }
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('p') => self.is_paused = !self.is_paused,
            KeyCode::Char(' ') => {
                if let Some(pid) = self.chosen
                    && !self.folded.remove(&pid)
                {
                    self.folded.insert(pid);
                }
            }
            KeyCode::Char('b') => self.ask_for_stack(),
            KeyCode::Char('t') => self.ask(TERMINATE),
            KeyCode::Char('k') => self.ask(KILL),
            KeyCode::Down => self.choose(1),
            KeyCode::Up => self.choose(-1),
            _ => {}
        }
        Next::GoOn
    }

    fn ask(&mut self, number: i32) {
        if let Some(pid) = self.chosen_or_say() {
            self.mode = Mode::Signal { pid, number };
        }
    }

    fn ask_for_stack(&mut self) {
        if let Some(pid) = self.chosen_or_say() {
            match Stack::ask(pid) {
                Ok(stack) => self.stack = Some(stack),
                Err(error) => self.message = error.to_string(),
            }
        }
    }

    fn chosen_or_say(&mut self) -> Option<u32> {
        if self.chosen.is_none() {
            self.message = "no process is chosen: the arrows choose one".into();
        }
        self.chosen
    }

    fn choose(&mut self, by: isize) {
        let pids: Vec<u32> = self
            .shown()
            .iter()
            .flatten()
            .map(|branch| branch.member.pid)
            .collect();
        let at = pids.iter().position(|&pid| Some(pid) == self.chosen);
        let last = pids.len().saturating_sub(1);
        let next = at.map_or(0, |at| at.saturating_add_signed(by).min(last));
        self.chosen = pids.get(next).copied();
    }
}

/// Returns the name of one of the two signals that are sent.
pub fn signal_name(number: i32) -> &'static str {
    if number == KILL { "SIGKILL" } else { "SIGTERM" }
}
