//! The one argument by which a fresh image learns who it is.
//!
//! It is the last of the program's arguments and reads, for example,
//! `procession:family=7,stamp=4097,lifeline=9,payload=65600+120,fds=4+5`: the
//! descriptor of the family's memory, the place set aside, then what there is
//! of the descriptor of the parent's lifeline, offset and length of the
//! payload, and descriptors handed over. An argument and no variable of the
//! environment, so that the process's own children never see it.

use std::fmt;
use std::os::fd::RawFd;

use crate::arena::Stamp;
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
                "payload" => {
                    let (offset, len) = value.split_once('+')?;
                    this.payload = Some((offset.parse().ok()?, len.parse().ok()?));
                }
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
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bare = Introduction {
            family: 3,
            stamp: Stamp::new(2, 8),
            ..Introduction::default()
        };
        for introduction in [full(), bare] {
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
