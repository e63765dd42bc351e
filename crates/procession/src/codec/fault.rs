//! Why a value could not be turned into bytes or back.

use std::fmt::{self, Display};

/// Says what is wrong with the value, its type or its bytes.
#[derive(Clone, Debug)]
pub struct Fault(Box<Reason>);

#[derive(Clone, Debug)]
enum Reason {
    /// Bytes that are none of the form.
    Form(&'static str),
    /// The bytes have ended too soon.
    Missing,
    /// A text, from the type's implementation or from the checks around it.
    Told(String),
}

/// The advice for a type that does not cross.
pub const ADVICE: &str = "mend the type, or wrap the value in procession::SelfDescribing \
                          (feature self-describing)";

impl Fault {
    /// Makes one of a text.
    #[cold]
    pub fn told(message: String) -> Self {
        Self(Box::new(Reason::Told(message)))
    }

    /// Makes one of what is wrong with the form.
    #[cold]
    pub fn form(error: &'static str) -> Self {
        Self(Box::new(Reason::Form(error)))
    }

    /// Makes the one of a value whose bytes end too soon.
    #[cold]
    pub fn missing() -> Self {
        Self(Box::new(Reason::Missing))
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Reason::Missing => write!(
                f,
                "missing bytes: the type's Deserialize reads more than its Serialize wrote, as \
                 with `#[serde(skip_serializing)]`, `serialize_with` or an implementation by \
                 hand; {ADVICE}"
            ),
            Reason::Form(error) => f.write_str(error),
            Reason::Told(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Fault {}

impl serde_core::ser::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::told(message.to_string())
    }
}

impl serde_core::de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::told(message.to_string())
    }
}
