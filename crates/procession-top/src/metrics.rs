//! One look as metrics: OpenMetrics text, which Prometheus and its like read.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};

use procession_engine::observe::{FamilyView, MemberView, PoolView, QueueView};

use crate::look::Look;

/// The states that a process may be in while it lives.
const STATES: [&str; 2] = ["running", "blocked"];

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// The text, as far as it is written.
#[derive(Debug, Default)]
struct Exposition(String);

/// The labels of a sample.
type Labels<'a> = Vec<(&'static str, Cow<'a, str>)>;

/// Returns a look as OpenMetrics text, with its end mark.
///
/// The content type of such an answer to a scraper is
/// `application/openmetrics-text; version=1.0.0; charset=utf-8`.
///
/// # Examples
/// ```
/// use procession_top::{Look, openmetrics};
///
/// let text = openmetrics(&Look::own());
/// assert!(text.ends_with("# EOF\n"));
/// ```
#[must_use]
pub fn openmetrics(look: &Look) -> String {
    let mut text = Exposition::default();
    processes(&mut text, look);
    pools(&mut text, look);
    queues(&mut text, look);
    memory(&mut text, look);
    text.0.push_str("# EOF\n");
    text.0
}

fn processes(text: &mut Exposition, look: &Look) {
    let all = || each(look, |family| &family.members);
    text.metric(
        "procession_process_cpu_seconds",
        Kind::Counter,
        Some("seconds"),
        "Time that the process has had on processors.",
        all().map(|(family, member)| (of_process(family, member), member.cpu.as_secs_f64())),
    );
    text.metric(
        "procession_process_resident_memory_bytes",
        Kind::Gauge,
        Some("bytes"),
        "Memory of the process that is in RAM, shared memory included.",
        all().map(|(family, member)| (of_process(family, member), member.resident)),
    );
    text.metric(
        "procession_process_age_seconds",
        Kind::Gauge,
        Some("seconds"),
        "How long ago the process has joined its family.",
        all().map(|(family, member)| (of_process(family, member), member.age.as_secs_f64())),
    );
    text.metric(
        "procession_process_threads",
        Kind::Gauge,
        None,
        "How many threads the process has.",
        all().map(|(family, member)| (of_process(family, member), member.threads)),
    );
    text.metric(
        "procession_process_state",
        Kind::Gauge,
        None,
        "1 for the state that the process is in, 0 for the other.",
        all().flat_map(|(family, member)| {
            STATES.map(|state| {
                let mut labels = of_process(family, member);
                labels.push(("state", state.into()));
                (labels, u32::from(member.state == state))
            })
        }),
    );
}

fn pools(text: &mut Exposition, look: &Look) {
    let all = || each(look, |family| &family.pools);
    text.metric(
        "procession_pool_workers",
        Kind::Gauge,
        None,
        "How many workers the pool has.",
        all().map(|(family, pool)| (of_pool(family, pool), pool.workers.len())),
    );
    text.metric(
        "procession_pool_busy_workers",
        Kind::Gauge,
        None,
        "How many of them run a task.",
        all().map(|(family, pool)| (of_pool(family, pool), pool.busy())),
    );
    text.metric(
        "procession_pool_queued_tasks",
        Kind::Gauge,
        None,
        "How many tasks the workers have at hand that they have not begun.",
        all().map(|(family, pool)| (of_pool(family, pool), pool.queued())),
    );
    text.metric(
        "procession_pool_worker_deaths",
        Kind::Counter,
        None,
        "How many workers have died, and did not end because the pool had them end.",
        all().map(|(family, pool)| (of_pool(family, pool), pool.deaths)),
    );
    text.metric(
        "procession_pool_task_retries",
        Kind::Counter,
        None,
        "How often the pool has run a task again, as its worker had died.",
        all().map(|(family, pool)| (of_pool(family, pool), pool.retries)),
    );
    let workers = || {
        all().flat_map(|(family, pool)| {
            pool.workers.iter().map(move |worker| {
                let mut labels = of_pool(family, pool);
                labels.push(("worker", worker.index.to_string().into()));
                labels.push(("pid", worker.pid.to_string().into()));
                (labels, worker)
            })
        })
    };
    text.metric(
        "procession_worker_tasks_begun",
        Kind::Counter,
        None,
        "How many tasks the worker has begun.",
        workers().map(|(labels, worker)| (labels, worker.begun)),
    );
    text.metric(
        "procession_worker_task_age_seconds",
        Kind::Gauge,
        Some("seconds"),
        "How long the running task of a busy worker has been running.",
        workers().filter_map(|(labels, worker)| Some((labels, worker.running?.as_secs_f64()))),
    );
}

fn queues(text: &mut Exposition, look: &Look) {
    let all = || each(look, |family| &family.queues);
    text.metric(
        "procession_queue_items",
        Kind::Gauge,
        None,
        "How many items are in the queue.",
        all().map(|(family, queue)| (of_queue(family, queue), queue.items)),
    );
    text.metric(
        "procession_queue_limit",
        Kind::Gauge,
        None,
        "How many items there may be in a bounded queue.",
        all()
            .filter(|(_, queue)| queue.limit > 0)
            .map(|(family, queue)| (of_queue(family, queue), queue.limit)),
    );
    text.metric(
        "procession_queue_put",
        Kind::Counter,
        None,
        "How many items were put into the queue.",
        all().map(|(family, queue)| (of_queue(family, queue), queue.put)),
    );
    text.metric(
        "procession_queue_blocked_processes",
        Kind::Gauge,
        None,
        "How many processes are blocked in the queue.",
        all().map(|(family, queue)| (of_queue(family, queue), queue.blocked.len())),
    );
}

fn memory(text: &mut Exposition, look: &Look) {
    let all = || look.families.iter();
    text.metric(
        "procession_shared_memory_bytes",
        Kind::Gauge,
        Some("bytes"),
        "Memory that all that the family shares takes.",
        all().map(|family| (of_family(family), family.shared_bytes)),
    );
    text.metric(
        "procession_shared_memory_blocks",
        Kind::Gauge,
        None,
        "How many blocks of the shared memory are in use.",
        all().map(|family| (of_family(family), family.blocks)),
    );
}

/// Returns what all families have, each with its family.
fn each<'a, T: 'a>(
    look: &'a Look,
    of: impl Fn(&'a FamilyView) -> &'a Vec<T>,
) -> impl Iterator<Item = (&'a FamilyView, &'a T)> {
    let families = look.families.iter();
    families.flat_map(move |family| of(family).iter().map(move |one| (family, one)))
}

fn of_family(family: &FamilyView) -> Labels<'_> {
    vec![("family", format!("{:032x}", family.id).into())]
}

fn of_process<'a>(family: &FamilyView, member: &'a MemberView) -> Labels<'a> {
    vec![
        ("family", format!("{:032x}", family.id).into()),
        ("pid", member.pid.to_string().into()),
        ("name", member.name.as_str().into()),
    ]
}

fn of_pool<'a>(family: &'a FamilyView, pool: &PoolView) -> Labels<'a> {
    let mut labels = of_family(family);
    labels.push(("owner", pool.owner.to_string().into()));
    labels.push(("pool", pool.number.to_string().into()));
    labels
}

fn of_queue<'a>(family: &'a FamilyView, queue: &QueueView) -> Labels<'a> {
    let mut labels = of_family(family);
    labels.push(("queue", queue.serial.to_string().into()));
    labels
}

impl Exposition {
    /// Writes a metric with all its samples.
    fn metric<'a, V: Display>(
        &mut self,
        name: &str,
        kind: Kind,
        unit: Option<&str>,
        help: &str,
        samples: impl Iterator<Item = (Labels<'a>, V)>,
    ) {
        let (word, suffix) = match kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
        };
        let text = &mut self.0;
        // Writing to a string does not fail.
        let _ = writeln!(text, "# TYPE {name} {word}");
        if let Some(unit) = unit {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(text, "# HELP {name} {help}");
        for (labels, value) in samples {
            let labels: Vec<_> = labels
                .iter()
                .map(|(label, of)| format!("{label}=\"{}\"", escaped(of)))
                .collect();
            let _ = writeln!(text, "{name}{suffix}{{{}}} {value}", labels.join(","));
        }
    }
}

/// Returns a label's value as it stands between quotes.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', r"\\");
    value.replace('"', r#"\""#).replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_processes_are_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }

    #[test]
    fn nothing_is_told_by_metrics_without_samples() {
        let text = openmetrics(&Look::default());
        assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
