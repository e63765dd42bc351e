//! Why a value could not be turned into bytes or back.

use std::fmt::{self, Display};

/// Says what is wrong with the value, its type or its bytes.
#[derive(Clone, Debug)]
pub struct Fault(Box<Reason>);

#[derive(Clone, Debug)]
enum Reason {
    /// An error of the format.
    Form(postcard::Error),
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
}

impl From<postcard::Error> for Fault {
    #[cold]
    fn from(error: postcard::Error) -> Self {
        Self(Box::new(Reason::Form(error)))
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Reason::Form(postcard::Error::DeserializeUnexpectedEnd) => write!(
                f,
                "missing bytes: the type's Deserialize reads more than its Serialize wrote, as \
                 with `#[serde(skip_serializing)]`, `serialize_with` or an implementation by \
                 hand; {ADVICE}"
            ),
            Reason::Form(error) => error.fmt(f),
            Reason::Told(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Fault {}

impl serde::ser::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::told(message.to_string())
    }
}

impl serde::de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::told(message.to_string())
    }
}
