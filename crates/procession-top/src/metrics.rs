//! One look as metrics, and these as OpenMetrics text, which Prometheus and its like read.

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use procession_engine::observe::{FamilyView, MemberView, PoolView, QueueView};

use crate::look::Look;

/// The states that a process may be in while it lives.
const STATES: [&str; 2] = ["running", "blocked"];

/// One metric, with its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// The name, without the suffix that the samples of a counter have in OpenMetrics.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: MetricKind,
    /// "seconds" or "bytes", with which the name ends, or neither.
    pub unit: Option<&'static str>,
    /// The metric's help text, a sentence.
    pub help: &'static str,
    /// A value for each process, pool, worker, queue or family that has one.
    pub samples: Vec<Sample>,
}

/// Whether a metric only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows, for as long as the process, pool, worker or queue lives.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names of labels with their values, which say what the value is of.
    pub labels: Labels,
    /// How much or how many.
    pub value: Value,
}

/// How much or how many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Of what is counted, bytes too.
    Count(u64),
    /// Of time.
    Seconds(f64),
}

/// Names of labels with their values.
pub type Labels = Vec<(&'static str, String)>;

/// Collects the metrics of a look.
#[derive(Debug, Default)]
struct Metrics(Vec<Metric>);

/// Returns all metrics of a look, always in the same order. A metric that has no value now has no
/// samples.
///
/// # Examples
/// ```
/// use procession_top::{Look, metrics};
///
/// let all = metrics(&Look::own());
/// assert_eq!(all[0].name, "procession_process_cpu_seconds");
/// ```
#[must_use]
pub fn metrics(look: &Look) -> Vec<Metric> {
    let mut found = Metrics::default();
    processes(&mut found, look);
    pools(&mut found, look);
    queues(&mut found, look);
    memory(&mut found, look);
    found.0
}

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
    let mut text = String::new();
    for metric in metrics(look) {
        // Writing to a string does not fail.
        let _ = write!(text, "{metric}");
    }
    text.push_str("# EOF\n");
    text
}

fn processes(found: &mut Metrics, look: &Look) {
    let all = || each(look, |family| &family.members);
    found.add(
        "procession_process_cpu_seconds",
        MetricKind::Counter,
        Some("seconds"),
        "Processor time that the process has used.",
        all().map(|(family, member)| (of_process(family, member), member.cpu)),
    );
    found.add(
        "procession_process_resident_memory_bytes",
        MetricKind::Gauge,
        Some("bytes"),
        "Memory of the process that is in RAM, shared memory included.",
        all().map(|(family, member)| (of_process(family, member), member.resident)),
    );
    found.add(
        "procession_process_age_seconds",
        MetricKind::Gauge,
        Some("seconds"),
        "How long ago the process joined its family.",
        all().map(|(family, member)| (of_process(family, member), member.age)),
    );
    found.add(
        "procession_process_threads",
        MetricKind::Gauge,
        None,
        "How many threads the process has.",
        all().map(|(family, member)| (of_process(family, member), member.threads)),
    );
    found.add(
        "procession_process_state",
        MetricKind::Gauge,
        None,
        "1 for the state that the process is in, 0 for the other.",
        all().flat_map(|(family, member)| {
            STATES.map(|state| {
                let mut labels = of_process(family, member);
                labels.push(("state", state.to_owned()));
                (labels, u32::from(member.state == state))
            })
        }),
    );
}

fn pools(found: &mut Metrics, look: &Look) {
    let all = || each(look, |family| &family.pools);
    found.add(
        "procession_pool_workers",
        MetricKind::Gauge,
        None,
        "How many workers the pool has.",
        all().map(|(family, pool)| (of_pool(family, pool), pool.workers.len())),
    );
    found.add(
        "procession_pool_busy_workers",
        MetricKind::Gauge,
        None,
        "How many of them run a task.",
        all().map(|(family, pool)| (of_pool(family, pool), pool.busy())),
    );
    found.add(
        "procession_pool_queued_tasks",
        MetricKind::Gauge,
        None,
        "How many tasks the workers have been given that they have not begun.",
        all().map(|(family, pool)| (of_pool(family, pool), pool.queued())),
    );
    found.add(
        "procession_pool_worker_deaths",
        MetricKind::Counter,
        None,
        "How many workers have died; those that the pool had told to end are not counted.",
        all().map(|(family, pool)| (of_pool(family, pool), pool.deaths)),
    );
    found.add(
        "procession_pool_task_retries",
        MetricKind::Counter,
        None,
        "How often the pool has run a task again because the task's worker had died.",
        all().map(|(family, pool)| (of_pool(family, pool), pool.retries)),
    );
    let workers = || {
        all().flat_map(|(family, pool)| {
            pool.workers.iter().map(move |worker| {
                let mut labels = of_pool(family, pool);
                labels.push(("worker", worker.index.to_string()));
                labels.push(("pid", worker.pid.to_string()));
                (labels, worker)
            })
        })
    };
    found.add(
        "procession_worker_tasks_begun",
        MetricKind::Counter,
        None,
        "How many tasks the worker has begun.",
        workers().map(|(labels, worker)| (labels, worker.begun)),
    );
    found.add(
        "procession_worker_task_age_seconds",
        MetricKind::Gauge,
        Some("seconds"),
        "How long the running task of a busy worker has been running.",
        workers().filter_map(|(labels, worker)| Some((labels, worker.running?))),
    );
}

fn queues(found: &mut Metrics, look: &Look) {
    let all = || each(look, |family| &family.queues);
    found.add(
        "procession_queue_items",
        MetricKind::Gauge,
        None,
        "How many items are in the queue.",
        all().map(|(family, queue)| (of_queue(family, queue), queue.items)),
    );
    found.add(
        "procession_queue_limit",
        MetricKind::Gauge,
        None,
        "How many items a bounded queue may have.",
        all()
            .filter(|(_, queue)| queue.limit > 0)
            .map(|(family, queue)| (of_queue(family, queue), queue.limit)),
    );
    found.add(
        "procession_queue_put",
        MetricKind::Counter,
        None,
        "How many items were put into the queue.",
        all().map(|(family, queue)| (of_queue(family, queue), queue.put)),
    );
    found.add(
        "procession_queue_blocked_processes",
        MetricKind::Gauge,
        None,
        "How many processes wait for the queue.",
        all().map(|(family, queue)| (of_queue(family, queue), queue.blocked.len())),
    );
}

fn memory(found: &mut Metrics, look: &Look) {
    let all = || look.families.iter();
    found.add(
        "procession_shared_memory_bytes",
        MetricKind::Gauge,
        Some("bytes"),
        "Memory that backs the family's shared memory.",
        all().map(|family| (of_family(family), family.shared_bytes)),
    );
    found.add(
        "procession_shared_memory_blocks",
        MetricKind::Gauge,
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

fn of_family(family: &FamilyView) -> Labels {
    vec![("family", format!("{:032x}", family.id))]
}

fn of_process(family: &FamilyView, member: &MemberView) -> Labels {
    let mut labels = of_family(family);
    labels.push(("pid", member.pid.to_string()));
    labels.push(("name", member.name.clone()));
    labels
}

fn of_pool(family: &FamilyView, pool: &PoolView) -> Labels {
    let mut labels = of_family(family);
    labels.push(("owner", pool.owner.to_string()));
    labels.push(("pool", pool.number.to_string()));
    labels
}

fn of_queue(family: &FamilyView, queue: &QueueView) -> Labels {
    let mut labels = of_family(family);
    labels.push(("queue", queue.serial.to_string()));
    labels
}

impl Metrics {
    fn add<V: Into<Value>>(
        &mut self,
        name: &'static str,
        kind: MetricKind,
        unit: Option<&'static str>,
        help: &'static str,
        samples: impl Iterator<Item = (Labels, V)>,
    ) {
        let samples = samples.map(|(labels, value)| Sample {
            labels,
            value: value.into(),
        });
        self.0.push(Metric {
            name,
            kind,
            unit,
            help,
            samples: samples.collect(),
        });
    }
}

impl Display for Metric {
    /// Writes it as OpenMetrics text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        let (word, suffix) = match self.kind {
            MetricKind::Counter => ("counter", "_total"),
            MetricKind::Gauge => ("gauge", ""),
        };
        writeln!(f, "# TYPE {name} {word}")?;
        if let Some(unit) = self.unit {
            writeln!(f, "# UNIT {name} {unit}")?;
        }
        writeln!(f, "# HELP {name} {}", self.help)?;
        for Sample { labels, value } in &self.samples {
            let labels: Vec<_> = labels
                .iter()
                .map(|(label, of)| format!("{label}=\"{}\"", escaped(of)))
                .collect();
            writeln!(f, "{name}{suffix}{{{}}} {value}", labels.join(","))?;
        }
        Ok(())
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Seconds(seconds) => seconds.fmt(f),
        }
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<u32> for Value {
    fn from(count: u32) -> Self {
        Self::Count(count.into())
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        Self::Seconds(time.as_secs_f64())
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
