//! The subscriber of a child, which sends spans and events to the process that relays.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Current, Id};
use tracing_core::subscriber::{Interest, NoSubscriber};
use tracing_core::{Dispatch, Event, Level, LevelFilter, Metadata, Subscriber, dispatcher, span};

use super::record::{Callsite, Record, TraceStep, Values};
use super::sender;
use super::value::Value;
use crate::remote_error::RemoteError;

/// The levels by their numbers, from 1 on.
pub const LEVELS: [Level; 5] = [
    Level::ERROR,
    Level::WARN,
    Level::INFO,
    Level::DEBUG,
    Level::TRACE,
];

/// Returns how much a subscriber may want, from 0 to 5: as much as any of this process does.
pub fn wanted(dispatch: &Dispatch) -> u8 {
    if dispatch.is::<NoSubscriber>() {
        return 0;
    }
    let most = LevelFilter::current();
    let count = LEVELS.iter().filter(|&&level| level <= most).count();
    count as u8
}

/// Installs a subscriber that sends this process's spans and events to the process that relays.
///
/// A subscriber that `main` has set before `init` stays, and so does the one of a forked copy's
/// original.
pub fn install(level: u8) {
    let Some(most) = usize::from(level)
        .checked_sub(1)
        .and_then(|at| LEVELS.get(at))
    else {
        return;
    };
    let subscriber = RelayedSubscriber {
        most: LevelFilter::from_level(*most),
        next: AtomicU64::new(1),
        spans: Mutex::default(),
    };
    let _ = dispatcher::set_global_default(Dispatch::new(subscriber));
}

struct RelayedSubscriber {
    most: LevelFilter,
    /// The number of the next span.
    next: AtomicU64,
    spans: Mutex<HashMap<u64, Open>>,
}

/// A span that is not closed.
struct Open {
    references: usize,
    metadata: &'static Metadata<'static>,
}

thread_local! {
    /// The spans that this thread is in.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Returns the span that this thread is in.
fn entered() -> Option<u64> {
    // At the end of a thread its variables may be gone.
    let last = ENTERED.try_with(|entered| entered.borrow().last().copied());
    last.ok().flatten()
}

/// Returns the parent of a new span or event: the given one, or else the span that this thread is
/// in, if it is `contextual`.
fn parent(given: Option<&Id>, contextual: bool) -> Option<u64> {
    match given {
        Some(given) => Some(given.into_u64()),
        None if contextual => entered(),
        None => None,
    }
}

impl RelayedSubscriber {
    fn spans(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber for RelayedSubscriber {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.enabled(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.most
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let metadata = attributes.metadata();
        let open = Open {
            references: 1,
            metadata,
        };
        self.spans().insert(id, open);
        let parent = parent(attributes.parent(), attributes.is_contextual());
        let values = values(|visit| attributes.record(visit));
        send_from(metadata, |callsite| TraceStep::Span {
            id,
            callsite,
            parent,
            values,
        });
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, record: &span::Record<'_>) {
        let span = span.into_u64();
        let values = values(|visit| record.record(visit));
        send(TraceStep::Values { span, values });
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        let (span, follows) = (span.into_u64(), follows.into_u64());
        send(TraceStep::Follows { span, follows });
    }

    fn event(&self, event: &Event<'_>) {
        let parent = parent(event.parent(), event.is_contextual());
        let values = values(|visit| event.record(visit));
        send_from(event.metadata(), |callsite| TraceStep::Event {
            callsite,
            parent,
            values,
        });
    }

    fn enter(&self, span: &Id) {
        // A thread that is in a span keeps the span open.
        self.clone_span(span);
        let _ = ENTERED.try_with(|entered| entered.borrow_mut().push(span.into_u64()));
        send(TraceStep::Enter(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        let id = span.into_u64();
        let left = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            let place = entered.iter().rposition(|&it| it == id);
            place.map(|place| entered.remove(place)).is_some()
        });
        send(TraceStep::Exit(id));
        if left.unwrap_or(true) {
            self.try_close(span.clone());
        }
    }

    fn clone_span(&self, id: &Id) -> Id {
        if let Some(open) = self.spans().get_mut(&id.into_u64()) {
            open.references += 1;
        }
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let id = id.into_u64();
        {
            let mut spans = self.spans();
            let Some(open) = spans.get_mut(&id) else {
                return false;
            };
            open.references -= 1;
            if open.references > 0 {
                return false;
            }
            spans.remove(&id);
        }
        send(TraceStep::Close(id));
        true
    }

    fn current_span(&self) -> Current {
        let Some(id) = entered() else {
            return Current::none();
        };
        match self.spans().get(&id) {
            Some(open) => Current::new(Id::from_u64(id), open.metadata),
            None => Current::none(),
        }
    }
}

fn send(step: TraceStep) {
    sender::send(Record::Trace(step));
}

/// Sends what was made at the callsite of `metadata`.
fn send_from(metadata: &'static Metadata<'static>, step: impl FnOnce(u64) -> TraceStep) {
    // The address names the callsite: it lives as long as the process.
    let callsite = std::ptr::from_ref(metadata).addr() as u64;
    let tell = || Record::Trace(TraceStep::Callsite(callsite, described(metadata)));
    sender::send_from(callsite, tell, Record::Trace(step(callsite)));
}

fn described(metadata: &Metadata<'_>) -> Callsite {
    let level = LEVELS.iter().position(|level| level == metadata.level());
    Callsite {
        name: metadata.name().to_owned(),
        target: metadata.target().to_owned(),
        level: level.map_or(0, |at| at as u8 + 1),
        module_path: metadata.module_path().map(str::to_owned),
        file: metadata.file().map(str::to_owned),
        line: metadata.line(),
        fields: metadata
            .fields()
            .iter()
            .map(|field| field.name().to_owned())
            .collect(),
        is_span: metadata.is_span(),
    }
}

fn values(record: impl FnOnce(&mut dyn Visit)) -> Values {
    let mut seen = SeenValues(Vec::new());
    record(&mut seen);
    seen.0
}

/// Takes values.
struct SeenValues(Values);

impl SeenValues {
    fn note(&mut self, field: &Field, value: Value) {
        self.0.push((field.index() as u32, value));
    }
}

impl Visit for SeenValues {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.note(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.note(field, Value::I64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.note(field, Value::U64(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.note(field, Value::I128(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.note(field, Value::U128(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.note(field, Value::F64(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, Value::Text(value.to_owned()));
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.note(field, Value::Bytes(value.to_vec()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.note(field, Value::Error(RemoteError::new(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.note(field, Value::Formatted(format!("{value:?}")));
    }
}
