//! Records of the crate `log`: sent to the process that relays, and handled there.

use log::kv::{self, Key, ToValue, VisitSource, VisitValue};
use log::{LevelFilter, Log, Metadata};

use super::record::{LogRecord, Record};
use super::value::Value;
use super::{Origin, sender};

/// Returns the level up to which this process's logger wants records, from 0 for none to 5 for all.
pub fn wanted() -> u8 {
    log::max_level() as u8
}

/// Installs a logger that sends this process's records to the process that relays.
///
/// A logger that `main` has set before `init` stays, and so does the one of a forked copy's
/// original.
pub fn install(level: u8) {
    let Some(wanted) = LevelFilter::iter().nth(level.into()) else {
        return;
    };
    if wanted != LevelFilter::Off && log::set_logger(&RelayedLogger).is_ok() {
        log::set_max_level(wanted);
    }
}

struct RelayedLogger;

impl Log for RelayedLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut pairs = Pairs(Vec::new());
        // Its errors are those of `pairs`, which has none.
        let _ = record.key_values().visit(&mut pairs);
        sender::send(Record::Log(LogRecord {
            level: record.level() as u8,
            target: record.target().to_owned(),
            module_path: record.module_path().map(str::to_owned),
            file: record.file().map(str::to_owned),
            line: record.line(),
            text: record.args().to_string(),
            pairs: pairs.0,
        }));
    }

    /// A record is in the queue when `log` returns.
    fn flush(&self) {}
}

/// Hands a record of another process to this process's logger.
pub fn handle(record: &LogRecord, origin: &Origin) {
    let Some(level) = LevelFilter::iter().nth(record.level.into()) else {
        return;
    };
    let Some(level) = level.to_level().filter(|&level| level <= log::max_level()) else {
        return;
    };
    let logger = log::logger();
    let metadata = Metadata::builder()
        .level(level)
        .target(&record.target)
        .build();
    if !logger.enabled(&metadata) {
        return;
    }
    let pairs = WithOrigin { record, origin };
    logger.log(
        &log::Record::builder()
            .metadata(metadata)
            .args(format_args!("{}", record.text))
            .module_path(record.module_path.as_deref())
            .file(record.file.as_deref())
            .line(record.line)
            .key_values(&pairs)
            .build(),
    );
}

/// The pairs of a record, and which process has made it.
struct WithOrigin<'a> {
    record: &'a LogRecord,
    origin: &'a Origin,
}

impl kv::Source for WithOrigin<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        for (key, value) in &self.record.pairs {
            visitor.visit_pair(Key::from_str(key), value.to_value())?;
        }
        visitor.visit_pair(Key::from_str("process"), self.origin.name.to_value())?;
        visitor.visit_pair(Key::from_str("pid"), self.origin.pid.to_value())
    }
}

impl ToValue for Value {
    fn to_value(&self) -> kv::Value<'_> {
        match self {
            Self::Bool(value) => value.to_value(),
            Self::I64(value) => value.to_value(),
            Self::U64(value) => value.to_value(),
            Self::I128(value) => value.to_value(),
            Self::U128(value) => value.to_value(),
            Self::F64(value) => value.to_value(),
            Self::Text(value) => value.to_value(),
            Self::Formatted(value) => kv::Value::from_display(value),
            Self::Null => kv::Value::null(),
            #[cfg(feature = "tracing")]
            Self::Bytes(_) | Self::Error(_) => kv::Value::from_debug(self),
        }
    }
}

/// Collects the pairs of a record.
struct Pairs(Vec<(String, Value)>);

impl<'kvs> VisitSource<'kvs> for Pairs {
    fn visit_pair(&mut self, key: Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        let mut seen = SeenInPair(Value::Null);
        value.visit(&mut seen)?;
        self.0.push((key.to_string(), seen.0));
        Ok(())
    }
}

/// Takes a value.
struct SeenInPair(Value);

impl VisitValue<'_> for SeenInPair {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        self.0 = Value::Formatted(value.to_string());
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.0 = Value::Null;
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.0 = Value::Bool(value);
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.0 = Value::I64(value);
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.0 = Value::U64(value);
        Ok(())
    }

    fn visit_i128(&mut self, value: i128) -> Result<(), kv::Error> {
        self.0 = Value::I128(value);
        Ok(())
    }

    fn visit_u128(&mut self, value: u128) -> Result<(), kv::Error> {
        self.0 = Value::U128(value);
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.0 = Value::F64(value);
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.0 = Value::Text(value.to_owned());
        Ok(())
    }
}
