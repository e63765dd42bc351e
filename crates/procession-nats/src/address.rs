//! Where the server is, and what the program wants of it.

use std::time::Duration;

use async_nats::ServerAddr;
use procession::Result;
use url::Url;

use crate::access::Access;
use crate::faults::invalid;

/// An address as users write it, taken apart.
#[derive(Clone, Debug)]
pub struct Address {
    /// The server.
    pub server: ServerAddr,
    /// The server as it may be shown: without a password.
    pub shown: String,
    /// The application's name.
    pub name: String,
    /// How many workers a node has.
    pub workers: Option<usize>,
    /// How long a client waits for a server that is gone.
    pub patience: Duration,
    /// After which silence a node counts as lost.
    pub lease: Duration,
    /// After which silence a client counts as dead.
    pub client_lease: Duration,
    /// How long the server keeps what nobody fetches.
    pub keep: Duration,
    /// Who connects, and whom it trusts.
    pub access: Access,
}

impl Address {
    /// Takes an address apart.
    pub fn parse(text: &str) -> Result<Self> {
        let mut url = Url::parse(text).map_err(|error| {
            invalid(format!(
                "{text:?} is no address of a NATS server ({error}): write nats://host:4222"
            ))
        })?;
        if !matches!(url.scheme(), "nats" | "tls") {
            return Err(invalid(format!(
                "{}:// is no scheme of NATS: write nats://host:4222, or tls:// for TLS",
                url.scheme()
            )));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(invalid(
                "the address of the NATS server names no host: write nats://host:4222",
            ));
        }
        let access = Access::of_url(&url)?;
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        url.set_query(None);
        // Neither may fail for a URL with a host.
        _ = url.set_username("");
        _ = url.set_password(None);
        let server = ServerAddr::from_url(url.clone())
            .map_err(|error| invalid(format!("{url} is no address of a NATS server: {error}")))?;
        let mut address = Self {
            server,
            shown: url.to_string(),
            name: String::new(),
            workers: None,
            patience: Duration::from_secs(60),
            lease: Duration::from_secs(10),
            client_lease: Duration::from_secs(30),
            keep: Duration::from_secs(3600),
            access,
        };
        for (key, value) in pairs {
            address.set(&key, &value)?;
        }
        if address.name.is_empty() {
            address.name = name_of_the_program()?;
        }
        Ok(address)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "name" => self.name = name(value)?,
            "workers" => self.workers = Some(number(key, value)? as usize),
            "patience" => self.patience = Duration::from_secs(number(key, value)?),
            "lease" => self.lease = Duration::from_secs(number(key, value)?),
            "client_lease" => self.client_lease = Duration::from_secs(number(key, value)?),
            "keep" => self.keep = Duration::from_secs(number(key, value)?),
            "credentials" => self.access.credentials = Some(value.into()),
            "ca" => self.access.ca = Some(value.into()),
            "certificate" => self.access.certificate = Some(value.into()),
            "key" => self.access.key = Some(value.into()),
            _ => {
                return Err(invalid(format!(
                    "the address of the NATS server has an unknown key {key:?}: there are name, \
                     workers, credentials, ca, certificate, key, patience, lease, \
                     client_lease and keep"
                )));
            }
        }
        Ok(())
    }
}

fn name(value: &str) -> Result<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if value.is_empty() || !value.chars().all(allowed) {
        return Err(invalid(format!(
            "{value:?} cannot be an application's name on a NATS server: write letters, digits, \
             _ and - alone, as in ?name=resize"
        )));
    }
    Ok(value.to_owned())
}

fn name_of_the_program() -> Result<String> {
    let program = std::env::current_exe().ok();
    let file = program.as_deref().and_then(|path| path.file_name());
    let file = file.map(|name| name.to_string_lossy().into_owned());
    name(&file.unwrap_or_default())
}

/// Reads a number that is not zero.
fn number(key: &str, value: &str) -> Result<u64> {
    let number: Option<u64> = value.parse().ok();
    number.filter(|number| *number > 0).ok_or_else(|| {
        invalid(format!(
            "{key}={value} in the address of the NATS server: {key} is a whole number above zero"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let error = Address::parse(text).expect_err("it is refused");
        assert!(error.is_invalid());
        error.to_string()
    }

    #[test]
    fn an_address_says_all() {
        let text = "nats://me:s%40fe@hub:4333?name=resize&workers=4&lease=1&keep=60&patience=5";
        let address = Address::parse(text).expect("it is one");
        assert_eq!(address.shown, "nats://hub:4333");
        assert_eq!((&*address.name, address.workers), ("resize", Some(4)));
        assert_eq!(address.lease, Duration::from_secs(1));
        assert_eq!(
            address.access.user,
            Some(("me".to_owned(), Some("s@fe".to_owned())))
        );
    }

    #[test]
    fn what_is_unknown_is_refused_by_name() {
        assert!(refused("nats://hub?wrokers=4").contains("wrokers"));
        assert!(refused("http://hub").contains("http"));
        assert!(refused("hub").contains("nats://host:4222"));
        assert!(refused("nats://hub?name=a.b").contains("a.b"));
        assert!(refused("nats://hub?workers=none").contains("workers=none"));
    }

    #[test]
    fn the_name_is_the_programs() {
        let address = Address::parse("nats://hub").expect("it is one");
        assert!(address.name.starts_with("procession_nats"));
    }
}
