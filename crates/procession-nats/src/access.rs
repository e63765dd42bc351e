//! Who connects, and whom it trusts: passwords, credentials, certificates.

use std::error::Error as _;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use async_nats::rustls::{AlertDescription, CertificateError, Error as TlsError};
use async_nats::{ConnectError, ConnectOptions};
use procession::Result;
use url::Url;

use crate::faults::{invalid, unavailable};

/// What to do where a server wants a certificate.
const NAME_ONE: &str =
    "name one, and its key, by ?certificate=/path/client.pem&key=/path/client.key";

/// What an address says of who connects, and of whose servers it believes.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The user and the password, or a token alone.
    pub user: Option<(String, Option<String>)>,
    /// A file of credentials.
    pub credentials: Option<PathBuf>,
    /// A file with the certificates of who signed the server's.
    pub ca: Option<PathBuf>,
    /// A file with the certificate of this program.
    pub certificate: Option<PathBuf>,
    /// The file with the key of that certificate.
    pub key: Option<PathBuf>,
}

impl Access {
    /// Reads the user, or the token, that a URL has, and the password.
    pub fn of_url(url: &Url) -> Result<Self> {
        let user = match url.username() {
            "" => None,
            user => {
                let password = url.password().map(plain).transpose()?;
                Some((plain(user)?, password))
            }
        };
        Ok(Self {
            user,
            ..Self::default()
        })
    }

    /// Adds to the options what the address says.
    pub async fn options(&self, options: ConnectOptions, shown: &str) -> Result<ConnectOptions> {
        let mut options = match &self.user {
            Some((name, Some(password))) => {
                options.user_and_password(name.clone(), password.clone())
            }
            Some((token, None)) => options.token(token.clone()),
            None => options,
        };
        let unread = |what: &str, file: &Path, error: io::Error| {
            let file = file.display();
            unavailable(format!(
                "the {what} for the NATS server at {shown} cannot be read from {file}: {error}"
            ))
        };
        if let Some(file) = &self.credentials {
            let read = options.credentials_file(file).await;
            options = read.map_err(|error| unread("credentials", file, error))?;
        }
        if let Some(file) = &self.ca {
            File::open(file).map_err(|error| unread("certificates", file, error))?;
            // A server that has none of it would otherwise be talked to in the open.
            options = options
                .add_root_certificates(file.clone())
                .require_tls(true);
        }
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                File::open(certificate)
                    .map_err(|error| unread("certificate", certificate, error))?;
                File::open(key).map_err(|error| unread("key", key, error))?;
                options = options
                    .add_client_certificate(certificate.clone(), key.clone())
                    .require_tls(true);
            }
            (None, None) => {}
            _ => {
                return Err(invalid(
                    "the address of the NATS server has one of certificate and key: write both, as in \
                     ?certificate=/path/client.pem&key=/path/client.key",
                ));
            }
        }
        Ok(options)
    }

    /// Tells in words why TLS was refused, by whom, and what to do; `None` if that is not the reason.
    pub fn refusal(&self, error: &ConnectError) -> Option<String> {
        let trusted = match &self.ca {
            Some(file) => format!("the certificates in {}", file.display()),
            None => "the system's certificates".to_owned(),
        };
        let Some(told) = cause::<TlsError>(error) else {
            return self.closed(error);
        };
        let told = match (told, &self.certificate) {
            // The second is of an authority that has the same name as one of them.
            (
                TlsError::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::BadSignature,
                ),
                _,
            ) => format!(
                "has a certificate that is signed by none of {trusted}: name the file with those of its \
                 authority by ?ca=/path/ca.pem"
            ),
            (TlsError::InvalidCertificate(why), _) => {
                format!("has a certificate that does not hold ({why})")
            }
            (TlsError::AlertReceived(_), Some(certificate)) => {
                format!(
                    "refuses the certificate in {} ({error})",
                    certificate.display()
                )
            }
            (TlsError::AlertReceived(alert), None) if wants_a_certificate(*alert) => {
                format!("wants a certificate of who connects ({error}): {NAME_ONE}")
            }
            (TlsError::InvalidMessage(_), _) => {
                format!("does not speak TLS ({error}): write nats:// without ca and certificate")
            }
            _ => format!("cannot be reached by TLS ({error})"),
        };
        Some(told)
    }

    /// A server that does not like what it is shown may be gone before it is heard why.
    fn closed(&self, error: &ConnectError) -> Option<String> {
        let is_closed = cause::<io::Error>(error).is_some_and(|error| {
            use io::ErrorKind::{BrokenPipe, ConnectionReset};
            matches!(error.kind(), BrokenPipe | ConnectionReset)
        });
        (is_closed && self.ca.is_some()).then(|| match &self.certificate {
            Some(certificate) => format!(
                "closes the connection ({error}): maybe it refuses the certificate in {}",
                certificate.display()
            ),
            None => format!(
                "closes the connection ({error}): if it wants a certificate of who connects, {NAME_ONE}"
            ),
        })
    }
}

fn wants_a_certificate(alert: AlertDescription) -> bool {
    // The second is what TLS 1.2 has for it.
    matches!(
        alert,
        AlertDescription::CertificateRequired | AlertDescription::BadCertificate
    )
}

/// Finds what somebody else says among the causes of an error.
fn cause<E: std::error::Error + 'static>(error: &ConnectError) -> Option<&E> {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.into_iter().find_map(|cause| {
        let inner = cause
            .downcast_ref::<io::Error>()
            .and_then(|it| it.get_ref());
        inner
            .and_then(|inner| inner.downcast_ref())
            .or_else(|| cause.downcast_ref())
    })
}

/// Decodes what a URL has to write as `%40` and the like.
fn plain(text: &str) -> Result<String> {
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .map(|text| text.into_owned())
        .map_err(|_| invalid("the user or password in the NATS address is not UTF-8"))
}
