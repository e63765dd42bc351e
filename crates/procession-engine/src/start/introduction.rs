//! The one argument by which a fresh image learns who it is.
//!
//! It is the last of the program's arguments and reads, for example,
//! `procession:family=7,stamp=4097,lifeline=9,payload=65600+120,fds=4+5`: the
//! descriptor of the family's memory, the place set aside, then what there is
//! of the descriptor of the parent's lifeline, offset and length of the
//! payload, and descriptors handed over. A server is told the handle of its
//! spares (`spares=66048+17`), a spare also which of them it is (`cell=3`) and
//! after how many milliseconds it may give up (`patience=10000`). An argument and no variable of the
//! environment, so that the process's own children never see it.

use std::fmt;
use std::os::fd::RawFd;

use crate::arena::{Handle, Stamp};
use crate::error::{Error, ErrorKind, Result};

/// What the argument begins with.
const PREFIX: &str = "procession:";

/// Says who a fresh image is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Introduction {
    /// Descriptor of the family's memory.
    pub(super) family: RawFd,
    /// The place set aside for the process.
    pub(super) stamp: Stamp,
    /// Descriptor of the parent's lifeline, for one that ends with it.
    pub(super) lifeline: Option<RawFd>,
    /// Offset and length of the payload.
    pub(super) payload: Option<(u64, u64)>,
    /// Descriptors handed over.
    pub(super) fds: Vec<RawFd>,
    /// The spares that the process keeps or is one of.
    pub(super) spares: Option<Handle>,
    /// Which of them it is.
    pub(super) cell: Option<usize>,
    /// Milliseconds after which it may give up.
    pub(super) patience: Option<u64>,
}

impl Introduction {
    /// Finds the introduction among a program's arguments; `None` when it was
    /// not started by procession.
    #[must_use]
    pub fn find(arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Option<Self> {
        let last = arguments.into_iter().last()?;
        Self::parse(last.as_ref().to_str()?).ok()
    }

    /// Reads an introduction.
    ///
    /// # Errors
    /// `Invalid` when the text is none.
    pub fn parse(text: &str) -> Result<Self> {
        Self::fields(text).ok_or_else(|| {
            let message = format!("{text:?} does not introduce a process of a family");
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
                "cell" => this.cell = Some(value.parse().ok()?),
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

impl fmt::Display for Introduction {
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
        if let Some(cell) = self.cell {
            write!(f, ",cell={cell}")?;
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

    fn full() -> Introduction {
        Introduction {
            family: 7,
            stamp: Stamp::new(1, 1),
            lifeline: Some(9),
            payload: Some((65_600, 120)),
            fds: vec![4, 5],
            ..Introduction::default()
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bare = Introduction {
            family: 3,
            stamp: Stamp::new(2, 8),
            ..Introduction::default()
        };
        let spare = Introduction {
            spares: Some(Handle {
                offset: 66_048,
                serial: 17,
            }),
            cell: Some(3),
            patience: Some(10_000),
            ..full()
        };
        for introduction in [full(), bare, spare] {
            let text = introduction.to_string();
            assert_eq!(Introduction::parse(&text).unwrap(), introduction);
        }
        assert_eq!(
            full().to_string(),
            "procession:family=7,stamp=4097,lifeline=9,payload=65600+120,fds=4+5"
        );
    }

    #[test]
    fn only_the_last_argument_introduces() {
        let text = full().to_string();
        assert_eq!(Introduction::find(["program", &text]), Some(full()));
        assert_eq!(Introduction::find([&text, "more"]), None);
        assert_eq!(Introduction::find([""; 0]), None);
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
                Introduction::parse(text).unwrap_err().kind(),
                ErrorKind::Invalid,
                "{text}"
            );
        }
    }
}
