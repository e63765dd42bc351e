//! The view in a terminal: it draws, waits for keys, and looks again.

use std::io;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyEventKind};

use crate::app::{App, Next};
use crate::draw::draw;
use crate::look::{Source, Watcher};

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Shows families in this terminal until the user leaves.
///
/// # Errors
/// When the terminal cannot be used, and when the process belongs to no family.
pub fn top(source: Source) -> io::Result<()> {
    let mut watcher = Watcher::new(source);
    let look = watcher.look().map_err(io::Error::other)?;
    let mut app = App::new(look);
    let mut terminal = ratatui::try_init()?;
    let result = run(&mut terminal, &mut app, &mut watcher);
    ratatui::try_restore()?;
    result
}

fn run(
    terminal: &mut ratatui::DefaultTerminal,
    app: &mut App,
    watcher: &mut Watcher,
) -> io::Result<()> {
    let mut due = Instant::now() + PERIOD;
    loop {
        if let Some(stack) = &mut app.stack {
            stack.receive();
        }
        terminal.draw(|frame| draw(frame, app))?;
        let left = due.saturating_duration_since(Instant::now());
        if event::poll(left)? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
                && app.press(key) == Next::Leave
            {
                return Ok(());
            }
            continue;
        }
        due = Instant::now() + PERIOD;
        if !app.is_paused {
            app.look = watcher.look().map_err(io::Error::other)?;
        }
    }
}
