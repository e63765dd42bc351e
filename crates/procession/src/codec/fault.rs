//! Why a value could not be turned into bytes or back.

use std::fmt::{self, Display};

use procession_engine as engine;

/// Says what is wrong with the value, its type or its bytes, or with the memory for them.
#[derive(Clone, Debug)]
pub struct Fault(Box<Reason>);

#[derive(Clone, Debug)]
enum Reason {
    /// A text, from the type's implementation or from the checks around it.
    Told(String),
    /// There was no room for the bytes.
    Engine(engine::Error),
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

    /// Returns the engine's error, if the value is not to blame.
    pub fn into_engine(self) -> Result<engine::Error, Self> {
        match *self.0 {
            Reason::Engine(error) => Ok(error),
            Reason::Told(message) => Err(Self::told(message)),
        }
    }
}

impl From<engine::Error> for Fault {
    #[cold]
    fn from(error: engine::Error) -> Self {
        Self(Box::new(Reason::Engine(error)))
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Reason::Told(message) => f.write_str(message),
            Reason::Engine(error) => error.fmt(f),
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
