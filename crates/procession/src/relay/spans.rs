//! Spans and events of other processes, told to a subscriber of this one.
//!
//! The description of the place where a span was made lives as long as this process (`Metadata` is
//! `'static`), so one is kept for each place in the program, whichever process it came from.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;

use procession_engine::sys::fork_safe::once::ForkOnce;
use tracing_core::callsite::{self, Identifier};
use tracing_core::dispatcher::{self, DefaultGuard};
use tracing_core::field::{FieldSet, Value as FieldValue, ValueSet, debug};
use tracing_core::span::{Attributes, Id};
use tracing_core::subscriber::Interest;
use tracing_core::{Dispatch, Event, Kind, Metadata, span};

use super::Origin;
use super::record::{Callsite, TraceStep, Values};
use super::subscriber::LEVELS;
use super::value::Value;

/// The spans of other processes, as one subscriber knows them.
pub struct Spans {
    dispatch: Dispatch,
    sources: HashMap<u32, Source>,
    places: HashMap<Callsite, &'static Metadata<'static>>,
}

/// A process, as the subscriber knows it.
#[derive(Default)]
struct Source {
    /// The span of the process, if the subscriber wants it.
    itself: Option<Id>,
    /// By the numbers that the process has for them.
    callsites: HashMap<u64, &'static Metadata<'static>>,
    spans: HashMap<u64, KnownSpan>,
    entered: Vec<Id>,
}

/// A span of a process.
struct KnownSpan {
    metadata: &'static Metadata<'static>,
    /// The subscriber's id for the span, if the subscriber wants it.
    own: Option<Id>,
    /// The nearest span around it that the subscriber wants, itself included.
    around: Option<Id>,
}

impl Source {
    /// Returns the span that the subscriber gets as the parent of what is made in `parent`.
    fn around(&self, parent: Option<u64>) -> Option<Id> {
        match parent.and_then(|parent| self.spans.get(&parent)) {
            Some(known) => known.around.clone(),
            None => self.itself.clone(),
        }
    }

    /// Tells a subscriber what the process has told.
    fn step(&mut self, dispatch: &Dispatch, step: TraceStep) {
        match step {
            TraceStep::Callsite(..) => {}
            TraceStep::Event {
                callsite,
                parent,
                values,
            } => {
                let around = self.around(parent);
                if let Some(metadata) = self.callsites.get(&callsite)
                    && dispatch.enabled(metadata)
                {
                    with_values(metadata, &values, |values| {
                        let event = Event::new_child_of(around, metadata, values);
                        dispatch.event(&event);
                    });
                }
            }
            TraceStep::Span {
                id,
                callsite,
                parent,
                values,
            } => {
                let around = self.around(parent);
                if let Some(metadata) = self.callsites.get(&callsite) {
                    let own = open(dispatch, metadata, around.clone(), &values);
                    let known = KnownSpan {
                        metadata,
                        around: own.clone().or(around),
                        own,
                    };
                    self.spans.insert(id, known);
                }
            }
            TraceStep::Values { span, values } => {
                if let Some(known) = self.spans.get(&span)
                    && let Some(own) = &known.own
                {
                    with_values(known.metadata, &values, |values| {
                        dispatch.record(own, &span::Record::new(values));
                    });
                }
            }
            TraceStep::Follows { span, follows } => {
                let own = |span| self.spans.get(&span)?.own.as_ref();
                if let (Some(span), Some(follows)) = (own(span), own(follows)) {
                    dispatch.record_follows_from(span, follows);
                }
            }
            TraceStep::Enter(span) => {
                if let Some(own) = self.spans.get(&span).and_then(|it| it.own.clone()) {
                    dispatch.enter(&own);
                    self.entered.push(own);
                }
            }
            TraceStep::Exit(span) => {
                if let Some(own) = self.spans.get(&span).and_then(|it| it.own.as_ref())
                    && let Some(place) = self.entered.iter().rposition(|id| id == own)
                {
                    dispatch.exit(own);
                    self.entered.remove(place);
                }
            }
            TraceStep::Close(span) => {
                if let Some(own) = self.spans.remove(&span).and_then(|known| known.own) {
                    dispatch.try_close(own);
                }
            }
        }
    }
}

impl Spans {
    /// Takes the subscriber of the calling thread.
    pub fn of_caller() -> Self {
        Self {
            dispatch: dispatcher::get_default(Clone::clone),
            sources: HashMap::new(),
            places: HashMap::new(),
        }
    }

    pub fn dispatch(&self) -> Dispatch {
        self.dispatch.clone()
    }

    /// Makes the subscriber this thread's default, too: code that stores spans asks for the
    /// default.
    pub fn become_default(&self) -> DefaultGuard {
        dispatcher::set_default(&self.dispatch)
    }

    /// Tells whether there are spans that are open.
    pub fn any_open(&self) -> bool {
        let mut sources = self.sources.values();
        sources.any(|source| source.itself.is_some() || !source.spans.is_empty())
    }

    /// Begins with a process, and opens its span.
    pub fn meet(&mut self, from: u32, origin: &Origin) {
        let place = Callsite {
            name: "process".to_owned(),
            target: "procession".to_owned(),
            level: 1,
            module_path: None,
            file: None,
            line: None,
            fields: vec!["name".to_owned(), "pid".to_owned()],
            is_span: true,
        };
        let metadata = self.metadata(place);
        let values = vec![
            (0, Value::Text(origin.name.clone())),
            (1, Value::U64(origin.pid.into())),
        ];
        self.part(from);
        let source = Source {
            itself: open(&self.dispatch, metadata, None, &values),
            ..Source::default()
        };
        self.sources.insert(from, source);
    }

    /// Closes all spans of a process.
    pub fn part(&mut self, from: u32) {
        let Some(source) = self.sources.remove(&from) else {
            return;
        };
        for id in source.entered.iter().rev() {
            self.dispatch.exit(id);
        }
        let spans = source.spans.into_values().filter_map(|known| known.own);
        for id in spans.chain(source.itself) {
            self.dispatch.try_close(id);
        }
    }

    /// Tells what a process has told.
    pub fn replay(&mut self, from: u32, step: TraceStep) {
        if let TraceStep::Callsite(number, place) = step {
            let metadata = self.metadata(place);
            if let Some(source) = self.sources.get_mut(&from) {
                source.callsites.insert(number, metadata);
            }
            return;
        }
        // A process that is not known was forgotten already.
        if let Some(source) = self.sources.get_mut(&from) {
            source.step(&self.dispatch, step);
        }
    }

    /// Returns the description of a place, for the subscriber.
    fn metadata(&mut self, place: Callsite) -> &'static Metadata<'static> {
        let known = self.places.entry(place);
        let make = |place: &Callsite| KeptCallsite::keep(place);
        known.or_insert_with_key(make)
    }
}

/// Opens a span, if the subscriber wants it.
fn open(
    dispatch: &Dispatch,
    metadata: &'static Metadata<'static>,
    around: Option<Id>,
    values: &Values,
) -> Option<Id> {
    if !dispatch.enabled(metadata) {
        return None;
    }
    Some(with_values(metadata, values, |values| {
        let attributes = match around {
            Some(around) => Attributes::child_of(around, metadata, values),
            None => Attributes::new_root(metadata, values),
        };
        dispatch.new_span(&attributes)
    }))
}

/// A place where spans or events are made, in the form that a subscriber takes.
struct KeptCallsite(ForkOnce<Metadata<'static>>);

impl KeptCallsite {
    /// Keeps the description of a place for as long as this process lives.
    fn keep(place: &Callsite) -> &'static Metadata<'static> {
        let own: &'static Self = Box::leak(Box::new(Self(ForkOnce::new())));
        let fields: Vec<&'static str> = place.fields.iter().map(|field| kept(field)).collect();
        let level = LEVELS[usize::from(place.level.clamp(1, 5)) - 1];
        let metadata = Metadata::new(
            kept(&place.name),
            kept(&place.target),
            level,
            place.file.as_deref().map(kept),
            place.line,
            place.module_path.as_deref().map(kept),
            FieldSet::new(fields.leak(), Identifier(own)),
            match place.is_span {
                true => Kind::SPAN,
                false => Kind::EVENT,
            },
        );
        let metadata = own.0.get_or_init(|| metadata);
        callsite::register(own);
        metadata
    }
}

impl callsite::Callsite for KeptCallsite {
    /// Nothing is stored: the subscriber is asked each time.
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        // `keep` has set it before anybody asks.
        self.0
            .get()
            .unwrap_or_else(|| unreachable!("the place has no metadata"))
    }
}

fn kept(text: &str) -> &'static str {
    text.to_owned().leak()
}

/// Calls `tell` with values in the form that a subscriber takes.
fn with_values<T>(
    metadata: &'static Metadata<'static>,
    values: &Values,
    tell: impl FnOnce(&ValueSet<'_>) -> T,
) -> T {
    let owned: Vec<(usize, Told)> = values
        .iter()
        .map(|(place, value)| (*place as usize, Told::of(value)))
        .collect();
    let mut told: Vec<Option<&dyn FieldValue>> = vec![None; metadata.fields().len()];
    for (place, value) in &owned {
        if let Some(slot) = told.get_mut(*place) {
            *slot = Some(value.as_field_value());
        }
    }
    tell(&metadata.fields().value_set_all(&told))
}

/// A value that the subscriber is told.
enum Told {
    Plain(Box<dyn FieldValue>),
    Error(Box<dyn Error + 'static>),
}

impl Told {
    fn of(value: &Value) -> Self {
        Self::Plain(match value {
            Value::Bool(value) => Box::new(*value),
            Value::I64(value) => Box::new(*value),
            Value::U64(value) => Box::new(*value),
            Value::I128(value) => Box::new(*value),
            Value::U128(value) => Box::new(*value),
            Value::F64(value) => Box::new(*value),
            Value::Text(text) => Box::new(text.clone()),
            Value::Formatted(text) => Box::new(debug(Verbatim(text.clone()))),
            Value::Bytes(bytes) => Box::new(debug(bytes.clone())),
            Value::Error(error) => return Self::Error(Box::new(error.clone().into_chain())),
            #[cfg(feature = "log")]
            Value::Null => Box::new(tracing_core::field::Empty),
        })
    }

    fn as_field_value(&self) -> &dyn FieldValue {
        match self {
            Self::Plain(value) => value,
            Self::Error(error) => error,
        }
    }
}

/// A text that is its own `Debug` form.
struct Verbatim(String);

impl fmt::Debug for Verbatim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
