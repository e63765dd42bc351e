//! How much memory a family may use at most, and who says so.

use procession_sys::error::{Error, ErrorKind, Result};
use procession_sys::limits::memory::{group_limit, total_memory};

/// Bytes to which this environment variable holds a new family's shared memory; by
/// default that of the machine or its control group.
pub const LIMIT_VARIABLE: &str = "PROCESSION_ARENA_LIMIT";

/// Bytes of data that may be backed with memory at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// How many there are.
    pub bytes: u64,
    /// Who has set it.
    pub origin: LimitOrigin,
}

/// Says who has set a limit; its number stands in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LimitOrigin {
    /// Nobody: where nothing tells, the system's own refusal is the limit.
    Nobody = 0,
    /// The variable.
    Variable,
    /// The control group, or one around it.
    ControlGroup,
    /// What the machine has.
    Machine,
}

impl MemoryLimit {
    /// Returns the limit of a family that this process founds.
    ///
    /// # Errors
    /// `Invalid` when the variable is no number.
    pub fn of_new_family() -> Result<Self> {
        let Some(text) = std::env::var_os(LIMIT_VARIABLE) else {
            return Ok(Self::of_system(group_limit(), total_memory()));
        };
        let bytes = text.to_str().and_then(|text| text.parse().ok());
        let bytes = bytes.ok_or_else(|| {
            let message = format!("{LIMIT_VARIABLE} must be a number of bytes, not {text:?}");
            Error::new(ErrorKind::Invalid, message)
        })?;
        let origin = LimitOrigin::Variable;
        Ok(Self { bytes, origin })
    }

    fn of_system(group: Option<u64>, machine: Option<u64>) -> Self {
        let group = group.map(|bytes| (bytes, LimitOrigin::ControlGroup));
        let machine = machine.map(|bytes| (bytes, LimitOrigin::Machine));
        let least = machine
            .into_iter()
            .chain(group)
            .min_by_key(|(bytes, _)| *bytes);
        let (bytes, origin) = least.unwrap_or((u64::MAX, LimitOrigin::Nobody));
        Self { bytes, origin }
    }
}

impl LimitOrigin {
    const ALL: [Self; 4] = [
        Self::Nobody,
        Self::Variable,
        Self::ControlGroup,
        Self::Machine,
    ];

    /// Reads it back from its number.
    #[must_use]
    pub fn from_raw(raw: u32) -> Self {
        let known = Self::ALL.get(raw as usize);
        known.copied().unwrap_or(Self::Nobody)
    }

    /// Says where the limit comes from and what to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Nobody => "free what is not needed any more",
            Self::Variable => {
                "the limit is that of PROCESSION_ARENA_LIMIT: free what is not needed any more, or \
                 set it to more bytes before the first process starts"
            }
            Self::ControlGroup => {
                "the limit is that of the control group's memory: free what is not needed any \
                 more, or raise it, or set PROCESSION_ARENA_LIMIT to another number of bytes"
            }
            Self::Machine => {
                "the limit is the memory of this machine: free what is not needed any more, or, if \
                 there is swap space, set PROCESSION_ARENA_LIMIT to more bytes"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_the_systems_limits_counts_and_is_told_whose_it_is() {
        let limit = |group, machine| {
            let MemoryLimit { bytes, origin } = MemoryLimit::of_system(group, machine);
            (bytes, origin)
        };
        assert_eq!(limit(Some(5), Some(7)), (5, LimitOrigin::ControlGroup));
        assert_eq!(limit(Some(u64::MAX), Some(7)), (7, LimitOrigin::Machine));
        assert_eq!(limit(Some(7), Some(7)), (7, LimitOrigin::Machine));
        assert_eq!(limit(None, Some(7)), (7, LimitOrigin::Machine));
        assert_eq!(limit(None, None), (u64::MAX, LimitOrigin::Nobody));
    }

    #[test]
    fn who_has_set_a_limit_is_read_as_it_was_written() {
        for origin in LimitOrigin::ALL {
            assert_eq!(LimitOrigin::from_raw(origin as u32), origin);
        }
        assert_eq!(LimitOrigin::from_raw(9), LimitOrigin::Nobody);
    }
}
