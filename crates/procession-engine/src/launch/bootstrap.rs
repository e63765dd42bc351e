//! The bootstrap argument: how a fresh image finds its family and what it inherits.
//!
//! It is the last of the program's arguments and reads, for example,
//! `procession:family=7,stamp=4097,lifeline=9,payload=65600+120,fds=4+5`: the
//! descriptor of the family's memory and the process's stamp; then, if there are any,
//! the descriptor of the parent's lifeline, offset and length of the
//! payload, and inherited descriptors. A server also gets the handle of its
//! spares (`spares=66048+17`), and a spare the index of its slot (`slot=3`) and
//! the time in milliseconds after which it ends unclaimed (`patience=10000`). An argument is
//! used, and not a variable of the environment, so that the process's children never see it.

use std::fmt;
use std::os::fd::RawFd;

use procession_shm::{Handle, Stamp};
use procession_sys::error::{Error, ErrorKind, Result};

/// The beginning of the argument.
const PREFIX: &str = "procession:";

/// The bootstrap argument of a fresh image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootstrapArgument {
    /// Descriptor of the family's memory.
    pub(crate) family: RawFd,
    /// The stamp reserved for the process.
    pub(crate) stamp: Stamp,
    /// Descriptor of the parent's lifeline, for a process that ends with its parent.
    pub(crate) lifeline: Option<RawFd>,
    /// Offset and length of the payload.
    pub(crate) payload: Option<(u64, u64)>,
    /// Inherited descriptors.
    pub(crate) fds: Vec<RawFd>,
    /// The object of spares, for a server or a spare.
    pub(crate) spares: Option<Handle>,
    /// The index of a spare's slot.
    pub(crate) slot: Option<usize>,
    /// Milliseconds after which an unclaimed spare ends.
    pub(crate) patience: Option<u64>,
}

impl BootstrapArgument {
    /// Finds the bootstrap argument among a program's arguments; `None` when the program was
    /// not started by procession.
    #[must_use]
    pub fn find(arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Option<Self> {
        let last = arguments.into_iter().last()?;
        Self::parse(last.as_ref().to_str()?).ok()
    }

    /// Parses a bootstrap argument.
    ///
    /// # Errors
    /// `Invalid` when the text is not one.
    pub fn parse(text: &str) -> Result<Self> {
        Self::fields(text).ok_or_else(|| {
            let message =
                format!("{text:?} is not an argument by which procession starts a process");
            Error::new(ErrorKind::Invalid, message)
        })
    }

    fn fields(text: &str) -> Option<Self> {
        let mut this = Self {
            family: -1,
            ..Self::default()
        };
        for field in text.strip_prefix(PREFIX)?.split(',') {
            let (name, value) = field.split_once('=')?;
            match name {
                "family" => this.family = value.parse().ok()?,
                "stamp" => this.stamp = Stamp::from_raw(value.parse().ok()?),
                "lifeline" => this.lifeline = Some(value.parse().ok()?),
                "payload" => this.payload = Some(pair(value)?),
                "spares" => {
                    let (offset, serial) = pair(value)?;
                    this.spares = Some(Handle { offset, serial });
                }
                "slot" => this.slot = Some(value.parse().ok()?),
                "patience" => this.patience = Some(value.parse().ok()?),
                "fds" => {
                    let numbers = value.split('+').map(str::parse);
                    this.fds = numbers.collect::<std::result::Result<_, _>>().ok()?;
                }
                _ => return None,
            }
        }
        (this.family >= 0 && !this.stamp.is_nobody()).then_some(this)
    }
}

fn pair(text: &str) -> Option<(u64, u64)> {
    let (first, second) = text.split_once('+')?;
    Some((first.parse().ok()?, second.parse().ok()?))
}

impl fmt::Display for BootstrapArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (family, stamp) = (self.family, self.stamp.raw());
        write!(f, "{PREFIX}family={family},stamp={stamp}")?;
        if let Some(lifeline) = self.lifeline {
            write!(f, ",lifeline={lifeline}")?;
        }
        if let Some((offset, len)) = self.payload {
            write!(f, ",payload={offset}+{len}")?;
        }
        for (index, number) in self.fds.iter().enumerate() {
            f.write_str(if index == 0 { ",fds=" } else { "+" })?;
            write!(f, "{number}")?;
        }
        if let Some(Handle { offset, serial }) = self.spares {
            write!(f, ",spares={offset}+{serial}")?;
        }
        if let Some(slot) = self.slot {
            write!(f, ",slot={slot}")?;
        }
        if let Some(patience) = self.patience {
            write!(f, ",patience={patience}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> BootstrapArgument {
        BootstrapArgument {
            family: 7,
            stamp: Stamp::new(1, 1),
            lifeline: Some(9),
            payload: Some((65_600, 120)),
            fds: vec![4, 5],
            ..BootstrapArgument::default()
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bare = BootstrapArgument {
            family: 3,
            stamp: Stamp::new(2, 8),
            ..BootstrapArgument::default()
        };
        let spare = BootstrapArgument {
            spares: Some(Handle {
                offset: 66_048,
                serial: 17,
            }),
            slot: Some(3),
            patience: Some(10_000),
            ..full()
        };
        for argument in [full(), bare, spare] {
            let text = argument.to_string();
            assert_eq!(BootstrapArgument::parse(&text).unwrap(), argument);
        }
        assert_eq!(
            full().to_string(),
            "procession:family=7,stamp=4097,lifeline=9,payload=65600+120,fds=4+5"
        );
    }

    #[test]
    fn only_the_last_argument_counts() {
        let text = full().to_string();
        assert_eq!(BootstrapArgument::find(["program", &text]), Some(full()));
        assert_eq!(BootstrapArgument::find([&text, "more"]), None);
        assert_eq!(BootstrapArgument::find([""; 0]), None);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "procession:",
            "procession:family=1",
            "procession:family=-1,stamp=4097",
            "procession:family=1,stamp=4097,payload=3",
            "procession:family=1,stamp=4097,more=3",
        ] {
            assert_eq!(
                BootstrapArgument::parse(text).unwrap_err().kind(),
                ErrorKind::Invalid,
                "{text}"
            );
        }
    }
}
