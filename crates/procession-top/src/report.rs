//! One look as text, and as JSON.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

use procession_engine::observe::{FamilyView, MemberView, PoolView, QueueView};
use serde_json::{Value, json};

use crate::look::Look;
use crate::tree::{Branch, Order, branches};

/// Returns a look as text: for each family its tree of processes, its pools and its queues.
#[must_use]
pub fn text(look: &Look) -> String {
    let mut text = String::new();
    for family in &look.families {
        if !text.is_empty() {
            text.push('\n');
        }
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:>8}  {:<32}  {:<8}  {:>8}  {:>9}  {:>8}  TASK; WAITS FOR",
            "PID", "NAME", "STATE", "CPU", "MEMORY", "AGE"
        );
        for branch in branches(&family.members, Order::Age, &HashSet::new()) {
            let member = branch.member;
            let _ = writeln!(
                text,
                "{:>8}  {:<32}  {:<8}  {:>8}  {:>9}  {:>8}  {}",
                member.pid,
                name(branch),
                member.state,
                seconds(member.cpu),
                bytes(member.resident),
                seconds(member.age),
                doing(member, family)
            );
        }
        for pool in &family.pools {
            let _ = writeln!(text, "{}", pool_line(pool, None));
        }
        for queue in family.queues.iter().filter(|queue| is_busy(queue)) {
            let _ = writeln!(text, "{}", queue_line(queue));
        }
        let shared = bytes(family.shared_bytes);
        let _ = writeln!(text, "shared memory: {shared} in {} blocks", family.blocks);
    }
    if look.families.is_empty() {
        text.push_str("no program of this user has a family of processes\n");
    }
    if look.other_builds > 0 {
        let others = look.other_builds;
        let _ = writeln!(text, "{others} more run another build of procession");
    }
    text
}

/// Returns a look as JSON, in one line. Times are in seconds, memory in bytes.
#[must_use]
pub fn json(look: &Look) -> String {
    let families: Vec<Value> = look.families.iter().map(family).collect();
    json!({ "families": families, "other_builds": look.other_builds }).to_string()
}

fn family(family: &FamilyView) -> Value {
    let members = family.members.iter().map(|member| {
        json!({
            "pid": member.pid,
            "parent": member.parent,
            "name": member.name,
            "state": member.state,
            "waits_for": member.waits_for,
            "holder": member.holder,
            "daemon": member.is_daemon,
            "spare": member.is_spare,
            "booted": member.is_booted,
            "threads": member.threads,
            "cpu": member.cpu.as_secs_f64(),
            "resident": member.resident,
            "age": member.age.as_secs_f64(),
        })
    });
    let pools = family.pools.iter().map(|pool| {
        let workers = pool.workers.iter().map(|worker| {
            json!({
                "index": worker.index,
                "pid": worker.pid,
                "begun": worker.begun,
                "queued": worker.queued,
                "running": worker.running.map(|time| time.as_secs_f64()),
                "function": worker.function,
            })
        });
        json!({
            "owner": pool.owner,
            "number": pool.number,
            "deaths": pool.deaths,
            "retries": pool.retries,
            "workers": workers.collect::<Vec<_>>(),
        })
    });
    let queues = family.queues.iter().map(|queue| {
        json!({
            "serial": queue.serial,
            "items": queue.items,
            "limit": (queue.limit > 0).then_some(queue.limit),
            "put": queue.put,
            "closed": queue.is_closed,
            "users": queue.users,
            "blocked": queue.blocked,
        })
    });
    json!({
        "id": format!("{:032x}", family.id),
        "members": members.collect::<Vec<_>>(),
        "pools": pools.collect::<Vec<_>>(),
        "queues": queues.collect::<Vec<_>>(),
        "shared_bytes": family.shared_bytes,
        "blocks": family.blocks,
    })
}

/// Returns a process's name at its place in the tree.
pub fn name(branch: Branch<'_>) -> String {
    let indent = "  ".repeat(branch.depth);
    let name = match branch.member.name.as_str() {
        "" => "(unnamed)",
        name => name,
    };
    match branch.folded {
        0 => format!("{indent}{name}"),
        folded => format!("{indent}{name} (+{folded})"),
    }
}

/// Returns what a process waits for, and who has it.
fn waiting(member: &MemberView) -> String {
    match (&member.waits_for, member.holder) {
        (None, _) if member.is_spare => "until a process needs a child".into(),
        (None, _) => String::new(),
        (Some(what), None) => what.clone(),
        (Some(what), Some(holder)) => format!("{what}, which process {holder} has"),
    }
}

/// Returns the task that a process runs and how long it does, and what it waits for.
pub fn doing(member: &MemberView, family: &FamilyView) -> String {
    let mut workers = family.pools.iter().flat_map(|pool| &pool.workers);
    let worker = workers.find(|worker| worker.pid == member.pid);
    let task = worker.and_then(|worker| Some((worker.function.as_deref()?, worker.running?)));
    let task = task.map(|(function, time)| format!("{function} for {}", seconds(time)));
    let parts = [task.unwrap_or_default(), waiting(member)];
    let told: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    told.join("; ")
}

/// Returns a pool in a line; with its tasks per second, where they are known.
pub fn pool_line(pool: &PoolView, rate: Option<f64>) -> String {
    let workers = &pool.workers;
    let (busy, queued) = (pool.busy(), pool.queued());
    let begun: u64 = workers.iter().map(|worker| u64::from(worker.begun)).sum();
    let longest = workers.iter().filter_map(|worker| worker.running).max();
    let mut line = format!(
        "pool of process {}: {} workers, {busy} busy, {queued} tasks at hand, {begun} begun",
        pool.owner,
        workers.len()
    );
    if let Some(rate) = rate {
        let _ = write!(line, ", {rate:.0} per second");
    }
    if let Some(longest) = longest {
        let _ = write!(line, ", longest now {}", seconds(longest));
    }
    if pool.deaths + pool.retries > 0 {
        let _ = write!(line, ", {} deaths, {} retries", pool.deaths, pool.retries);
    }
    line
}

/// Tells whether a queue is worth a line: it has items, or somebody is blocked in it.
pub fn is_busy(queue: &QueueView) -> bool {
    queue.items > 0 || !queue.blocked.is_empty()
}

/// Returns a queue in a line.
pub fn queue_line(queue: &QueueView) -> String {
    let room = match queue.limit {
        0 => String::new(),
        limit => format!(" of {limit}"),
    };
    let mut line = format!(
        "queue #{}: {}{room} items, {} were put",
        queue.serial, queue.items, queue.put
    );
    if !queue.blocked.is_empty() {
        let pids: Vec<_> = queue.blocked.iter().map(u32::to_string).collect();
        let _ = write!(line, "; blocked in it: {}", pids.join(", "));
    }
    if queue.is_closed {
        line.push_str("; closed");
    }
    line
}

/// Returns a number of bytes for people.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while size >= 1000.0
        && let Some(next) = units.next()
    {
        size /= 1024.0;
        unit = next;
    }
    format!("{size:.0} {unit}")
}

/// Returns a time for people.
pub fn seconds(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.2} s", time.as_secs_f64()),
        10..600 => format!("{seconds} s"),
        600..36_000 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_in_units_that_fit() {
        assert_eq!(bytes(0), "0 KiB");
        assert_eq!(bytes(999 << 10), "999 KiB");
        assert_eq!(bytes(3 << 20), "3 MiB");
        assert_eq!(bytes(5 << 40), "5 TiB");
        assert_eq!(seconds(Duration::from_millis(1_234)), "1.23 s");
        assert_eq!(seconds(Duration::from_secs(599)), "599 s");
        assert_eq!(seconds(Duration::from_secs(7_200)), "120 min");
    }

    #[test]
    fn nothing_is_told_in_a_sentence() {
        let look = Look::default();
        assert!(text(&look).contains("no program"));
        assert_eq!(json(&look), r#"{"families":[],"other_builds":0}"#);
    }
}
