//! An error of another process, as texts.

use std::error::Error as StdError;
use std::fmt;

use crate::codec::tuple_form;

/// The error of a function that ran in another process: its text, and those of its sources.
///
/// Few errors have a form in which they could cross. A function that returns `Result<T,
/// RemoteError>` turns any error into this type by `?`, and its caller gets the texts of the whole
/// chain. Like `anyhow::Error` it is no [`std::error::Error`] itself, but becomes one by `?` in a
/// function that returns `Box<dyn Error>` or `anyhow::Error`'s like.
///
/// # Examples
///
/// ```
/// use procession::{Process, RemoteError};
///
/// fn settings(text: String) -> Result<u16, RemoteError> {
///     Ok(text.parse()?)
/// }
///
/// # procession::init();
/// let child = Process::new(settings).args("port".to_owned()).start()?;
/// let error = child.join()?.unwrap_err();
/// assert_eq!(error.to_string(), "invalid digit found in string");
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RemoteError {
    text: String,
    sources: Vec<String>,
}

tuple_form!(RemoteError { text, sources });

impl RemoteError {
    /// Keeps the texts of an error and of its sources.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::RemoteError;
    /// let error = std::io::Error::other("no petrol");
    /// assert_eq!(RemoteError::new(&error).to_string(), "no petrol");
    /// ```
    #[must_use]
    pub fn new(error: &(dyn StdError + 'static)) -> Self {
        let mut sources = Vec::new();
        let mut next = error.source();
        while let Some(source) = next {
            sources.push(source.to_string());
            next = source.source();
        }
        let text = error.to_string();
        Self { text, sources }
    }

    /// Returns the texts of the sources, the nearest first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use procession::RemoteError;
    /// #[derive(Debug)]
    /// struct NoPort(std::num::ParseIntError);
    ///
    /// impl std::fmt::Display for NoPort {
    ///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    ///         f.write_str("the port is no number")
    ///     }
    /// }
    ///
    /// impl std::error::Error for NoPort {
    ///     fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
    ///         Some(&self.0)
    ///     }
    /// }
    ///
    /// let error = RemoteError::from(NoPort("x".parse::<u16>().unwrap_err()));
    /// assert_eq!(error.sources(), ["invalid digit found in string"]);
    /// ```
    #[must_use]
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Returns an error with the same texts, and sources that are errors.
    pub(crate) fn into_chain(self) -> ErrorChain {
        let link = |source, text| Some(Box::new(ErrorChain { text, source }));
        let source = self.sources.into_iter().rev().fold(None, link);
        let text = self.text;
        ErrorChain { text, source }
    }
}

impl<E: StdError + 'static> From<E> for RemoteError {
    fn from(error: E) -> Self {
        Self::new(&error)
    }
}

impl From<RemoteError> for Box<dyn StdError + Send + Sync> {
    fn from(error: RemoteError) -> Self {
        Box::new(error.into_chain())
    }
}

impl From<RemoteError> for Box<dyn StdError> {
    fn from(error: RemoteError) -> Self {
        Box::new(error.into_chain())
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// For people, too: what a `main` prints that returns it.
impl fmt::Debug for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        for source in &self.sources {
            write!(f, "\n  because of: {source}")?;
        }
        Ok(())
    }
}

/// An error with sources, each of which has nothing but its text.
#[derive(Debug)]
pub(crate) struct ErrorChain {
    text: String,
    source: Option<Box<Self>>,
}

impl fmt::Display for ErrorChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for ErrorChain {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
