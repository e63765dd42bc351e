//! Draws what is shown.

use procession_engine::observe::{FamilyView, PoolView};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Table, TableState};

use crate::app::{App, Mode, signal_name};
use crate::look::Look;
use crate::report::{bytes, doing, is_busy, name, pool_line, queue_line, seconds};
use crate::stack::Stack;
use crate::tree::Branch;

const KEYS: &str =
    "q leave  arrows choose  space fold  s sort  / filter  p pause  b stack  t SIGTERM  k SIGKILL";

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
    let objects = object_lines(&app.look);
    let height = match objects.len() {
        0 => 0,
        // With its frame, and no more than a third.
        lines => (lines as u16 + 2).min(frame.area().height / 3),
    };
    let parts = [
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(height),
        Constraint::Length(1),
    ];
    let [head, processes, below, foot] = Layout::vertical(parts).areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Paragraph::new(Line::styled(summary(&app.look), bold)), head);
    match &app.stack {
        Some(stack) => draw_stack(frame, stack, processes),
        None => draw_processes(frame, app, processes),
    }
    if height > 0 {
        let frame_of = Block::bordered().title(" pools and queues ");
        let lines: Vec<Line<'_>> = objects.into_iter().map(Line::raw).collect();
        frame.render_widget(Paragraph::new(lines).block(frame_of), below);
    }
    frame.render_widget(Paragraph::new(foot_line(app)), foot);
}

fn draw_processes(frame: &mut Frame<'_>, app: &App, area: ratatui::layout::Rect) {
    let shown = app.shown();
    let all: Vec<&Branch<'_>> = shown.iter().flatten().collect();
    let at = all
        .iter()
        .position(|branch| Some(branch.member.pid) == app.chosen);
    let families = app.look.families.iter().zip(&shown);
    let rows = families.flat_map(|(family, branches)| {
        let rows = branches.iter();
        rows.map(|branch| row(branch, &app.look, doing(branch.member, family)))
    });
    let head = [
        "PID",
        "NAME",
        "STATE",
        "CPU",
        "MEMORY",
        "AGE",
        "TASK; WAITS FOR",
    ];
    let widths = [
        Constraint::Length(8),
        Constraint::Min(16),
        Constraint::Length(9),
        Constraint::Length(6),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Fill(2),
    ];
    let title = match app.filter.as_str() {
        "" => " processes ".to_owned(),
        filter => format!(" processes with {filter:?} "),
    };
    let table = Table::new(rows, widths)
        .header(Row::new(head).style(Style::new().add_modifier(Modifier::UNDERLINED)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(Block::bordered().title(title));
    let mut state = TableState::new().with_selected(at);
    frame.render_stateful_widget(table, area, &mut state);
}

fn draw_stack(frame: &mut Frame<'_>, stack: &Stack, area: ratatui::layout::Rect) {
    let frame_of = Block::bordered().title(format!(" stack of process {} ", stack.pid));
    let text = Paragraph::new(stack.text.as_str()).scroll((stack.first, 0));
    frame.render_widget(text.block(frame_of), area);
}

fn row<'a>(branch: &Branch<'_>, look: &Look, doing: String) -> Row<'a> {
    let member = branch.member;
    let part = look.cpu_parts.get(&member.pid);
    let style = match (member.state, member.is_spare) {
        (_, true) => Style::new().fg(Color::DarkGray),
        ("running", _) => Style::new().fg(Color::Green),
        _ => Style::new(),
    };
    Row::new([
        member.pid.to_string(),
        name(*branch),
        member.state.to_owned(),
        part.map_or_else(String::new, |part| format!("{:.0} %", part * 100.0)),
        bytes(member.resident),
        seconds(member.age),
        doing,
    ])
    .style(style)
}

fn summary(look: &Look) -> String {
    let count = look.families.len();
    let processes: usize = look
        .families
        .iter()
        .map(|family| family.members.len())
        .sum();
    let shared: u64 = look.families.iter().map(|family| family.shared_bytes).sum();
    let mut text = format!(
        "procession: {count} families, {processes} processes, {} shared",
        bytes(shared)
    );
    if look.other_builds > 0 {
        text += &format!(" ({} more run another build)", look.other_builds);
    }
    text
}

/// Returns a line for each pool, and for each queue that is in use.
fn object_lines(look: &Look) -> Vec<String> {
    let of_family = |family: &FamilyView| {
        let pools = family
            .pools
            .iter()
            .map(|pool| pool_line(pool, rate(pool, look)));
        let busy = family.queues.iter().filter(|queue| is_busy(queue));
        pools.chain(busy.map(queue_line)).collect::<Vec<_>>()
    };
    look.families.iter().flat_map(of_family).collect()
}

/// Returns how many tasks of a pool are begun per second.
fn rate(pool: &PoolView, look: &Look) -> Option<f64> {
    let rates = pool
        .workers
        .iter()
        .map(|worker| look.task_rates.get(&worker.pid));
    let known: Vec<f64> = rates.flatten().copied().collect();
    (!known.is_empty()).then(|| known.iter().sum())
}

fn foot_line(app: &App) -> String {
    if app.stack.is_some() {
        return "arrows scroll  any other key leaves the stack".into();
    }
    match app.mode {
        Mode::Filter => format!("filter: {}_", app.filter),
        Mode::Signal { pid, number } => {
            format!(
                "send {} to process {pid}? y, or any other key",
                signal_name(number)
            )
        }
        Mode::Normal if !app.message.is_empty() => app.message.clone(),
        Mode::Normal if app.is_paused => format!("paused  {KEYS}"),
        Mode::Normal => KEYS.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use procession_engine::observe::{MemberView, PoolWorkerView, QueueView};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use crate::app::Next;

    fn member(pid: u32, parent: Option<u32>, name: &str) -> MemberView {
        MemberView {
            pid,
            parent,
            name: name.into(),
            state: "running",
            waits_for: None,
            holder: None,
            is_daemon: false,
            is_spare: false,
            is_booted: true,
            threads: 1,
            cpu: Duration::from_millis(30),
            resident: 5 << 20,
            age: Duration::from_secs(1_000 - u64::from(pid)),
        }
    }

    fn app() -> App {
        let blocked = MemberView {
            state: "blocked",
            waits_for: Some("lock #7".into()),
            holder: Some(101),
            ..member(102, Some(100), "waiter")
        };
        let worker = PoolWorkerView {
            index: 0,
            pid: 101,
            begun: 12,
            queued: 3,
            running: Some(Duration::from_secs(4)),
            function: Some("shop.price".into()),
        };
        let queue = |serial, items| QueueView {
            serial,
            items,
            limit: 10,
            put: 40,
            is_closed: false,
            users: vec![100],
            blocked: Vec::new(),
        };
        App::new(Look {
            families: vec![FamilyView {
                id: 5,
                members: vec![
                    member(100, None, "main"),
                    member(101, Some(100), "worker-1"),
                    blocked,
                ],
                pools: vec![PoolView {
                    deaths: 2,
                    retries: 1,
                    owner: 100,
                    number: 1,
                    workers: vec![worker],
                }],
                queues: vec![queue(8, 2), queue(9, 0)],
                shared_bytes: 3 << 20,
                blocks: 11,
            }],
            ..Look::default()
        })
    }

    fn screen(app: &App) -> String {
        let mut terminal = Terminal::new(TestBackend::new(130, 20)).unwrap();
        terminal.draw(|frame| draw(frame, app)).unwrap();
        terminal.backend().to_string()
    }

    fn press(app: &mut App, code: KeyCode) -> Next {
        app.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn processes_pools_and_queues_are_drawn() {
        let screen = screen(&app());
        for text in [
            "1 families, 3 processes, 3 MiB shared",
            "  waiter",
            "lock #7, which process 101 has",
            "pool of process 100: 1 workers, 1 busy, 3 tasks at hand, 12 begun, longest now 4.00 s, 2 deaths, 1 retries",
            "shop.price for 4.00 s",
            "queue #8: 2 of 10 items, 40 were put",
            "q leave",
        ] {
            assert!(screen.contains(text), "{text}\n{screen}");
        }
        assert!(!screen.contains("queue #9"), "nobody is at it\n{screen}");
    }

    #[test]
    fn keys_choose_fold_filter_and_ask() {
        let mut app = app();
        press(&mut app, KeyCode::Down);
        assert_eq!(app.chosen, Some(100));
        press(&mut app, KeyCode::Char(' '));
        assert!(screen(&app).contains("main (+2)"));
        press(&mut app, KeyCode::Char(' '));
        press(&mut app, KeyCode::Char('k'));
        assert!(screen(&app).contains("send SIGKILL to process 100? y"));
        press(&mut app, KeyCode::Char('n'));
        assert!(screen(&app).contains("process 100 gets no signal"));
        press(&mut app, KeyCode::Char('/'));
        "wai".chars().for_each(|letter| {
            press(&mut app, KeyCode::Char(letter));
        });
        press(&mut app, KeyCode::Enter);
        let filtered = screen(&app);
        assert!(filtered.contains("waiter") && !filtered.contains("worker-1"));
        assert_eq!(press(&mut app, KeyCode::Char('q')), Next::Leave);
    }

    #[test]
    fn stack_of_a_process_is_shown_until_a_key_leaves_it() {
        let mut app = app();
        press(&mut app, KeyCode::Char('b'));
        assert!(screen(&app).contains("no process is chosen"));
        let me = std::process::id();
        app.look.families[0].members[0].pid = me;
        app.chosen = Some(me);
        press(&mut app, KeyCode::Char('b'));
        let asked = format!("asking for the stack of process {me}");
        assert!(screen(&app).contains(&asked));
        while let Some(stack) = &mut app.stack
            && stack.text == asked
        {
            stack.receive();
            std::thread::yield_now();
        }
        // If py-spy is installed it says why it has none of this program.
        let found = screen(&app);
        assert!(
            found.contains(&format!("stack of process {me} ")),
            "{found}"
        );
        assert!(
            found.contains(": runs, or waits for a processor"),
            "{found}"
        );
        press(&mut app, KeyCode::Down);
        assert_eq!(app.stack.as_ref().unwrap().first, 1);
        assert_eq!(press(&mut app, KeyCode::Char('q')), Next::GoOn);
        assert!(screen(&app).contains("worker-1"));
    }
}
