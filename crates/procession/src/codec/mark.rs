//! The mark that is written beside the index of an enum's variant.
//!
//! Serialize and Deserialize may number variants differently, as `#[serde(skip)]` does,
//! and may see different kinds of variants. So a few bits of a variant's name and its
//! kind go along.

/// The kind of a variant's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Unit,
    Newtype,
    Tuple,
    Struct,
}

/// The bits of a variant: 14 of its name and 2 of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark([u8; 2]);

impl Mark {
    #[inline(always)]
    pub fn of(name: &str, kind: Kind) -> Self {
        Self((bits_of(name) << 2 | kind as u16).to_le_bytes())
    }

    pub fn from_bytes(bytes: [u8; 2]) -> Self {
        Self(bytes)
    }

    pub fn bytes(self) -> [u8; 2] {
        self.0
    }

    /// Tells whether it may be of the variant of this name.
    #[inline(always)]
    pub fn is_of(self, name: &str) -> bool {
        u16::from_le_bytes(self.0) >> 2 == bits_of(name)
    }

    #[inline]
    pub fn kind(self) -> Kind {
        match self.0[0] & 3 {
            0 => Kind::Unit,
            1 => Kind::Newtype,
            2 => Kind::Tuple,
            _ => Kind::Struct,
        }
    }
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Unit => "without fields",
            Self::Newtype => "with one field",
            Self::Tuple => "with fields in parentheses",
            Self::Struct => "with named fields",
        }
    }
}

/// Mixes a name, eight bytes at a time; inlined, that of a literal is a constant.
#[inline(always)]
fn bits_of(name: &str) -> u16 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut chunks = name.as_bytes().chunks_exact(8);
    let mut mixed = name.len() as u64;
    for chunk in &mut chunks {
        let word = chunk
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte));
        mixed = (mixed ^ word).wrapping_mul(FACTOR);
        mixed ^= mixed >> 32;
    }
    let rest = chunks.remainder().iter();
    let word = rest.fold(0, |word, byte| word << 8 | u64::from(*byte));
    ((mixed ^ word).wrapping_mul(FACTOR) >> 50) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_one_letter_have_other_marks() {
        let names = [
            "A",
            "B",
            "Item",
            "Itens",
            "GetUser",
            "SetUser",
            "AlphaOneX",
            "AlphaTwoX",
            "",
            "ALongNameOfAVariantA",
            "ALongNameOfAVariantB",
        ];
        for (i, name) in names.iter().enumerate() {
            let mark = Mark::of(name, Kind::Tuple);
            assert!(mark.is_of(name) && mark.kind() == Kind::Tuple);
            assert!(names[..i].iter().all(|other| !mark.is_of(other)), "{name}");
        }
    }
}
