//! Servers with TLS, and with accounts.

use std::fs;
use std::path::{Path, PathBuf};

use procession_nats::connect;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::Test;
use crate::accounts::Operator;
use crate::nodes::{NodeProcess, pool, wait_for_nodes};
use crate::server::{self, Folder, Server};

pub const TESTS: &[Test] = &[
    ("tls_carries_all", tls_carries_all),
    (
        "who_trusts_another_authority_is_told",
        who_trusts_another_authority_is_told,
    ),
    (
        "a_server_without_tls_is_not_talked_to",
        a_server_without_tls_is_not_talked_to,
    ),
    (
        "a_server_can_want_certificates",
        a_server_can_want_certificates,
    ),
    ("credentials_let_in", credentials_let_in),
];

/// Who signs certificates, and where they lie.
struct Authority {
    folder: Folder,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = Folder::new();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn ca(&self) -> String {
        shown(&self.folder.path().join("ca.pem"))
    }

    /// Makes a certificate for a host, and its key.
    fn sign(&self, host: &str) -> [String; 2] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let write = |what: &str, text: String| {
            let file: PathBuf = self.folder.path().join(format!("{host}.{what}"));
            fs::write(&file, text).unwrap();
            shown(&file)
        };
        [
            write("pem", certificate.pem()),
            write("key", key.serialize_pem()),
        ]
    }

    /// Starts a server that this one vouches for.
    fn server(&self, arguments: &[&str]) -> Server {
        let [certificate, key] = self.sign("127.0.0.1");
        let tls = ["-js", "--tls", "--tlscert", &certificate, "--tlskey", &key];
        server::start(&[&tls, arguments].concat())
    }
}

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn refused(url: &str) -> String {
    let error = connect(url).unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    error.to_string()
}

fn square(number: u64) -> u64 {
    number * number
}

fn tls_carries_all() {
    let authority = Authority::new();
    let mut server = authority.server(&[]);
    let url = server.tls_url(&format!("ca={}&workers=2&lease=1", authority.ca()));
    let _node = NodeProcess::start(&url, "1");
    let pool = pool(&url);
    wait_for_nodes(&pool, 1);
    let calls = pool.retries(1).chunk_size(1);
    let out = calls.map_async(square, 0..2000).unwrap();
    // They come back by TLS, too.
    server.kill();
    server.begin();
    assert!(out.get().unwrap().into_iter().eq((0..2000).map(square)));
    let large = pool.apply(|bytes: Vec<u8>| bytes, vec![7; 3 << 20]);
    assert!(large.unwrap() == vec![7; 3 << 20]);
    // The server says that it wants TLS, so the scheme may be the other one.
    let url = url.replace("tls://", "nats://");
    assert_eq!(crate::nodes::pool(&url).apply(square, 3).unwrap(), 9);
}

fn who_trusts_another_authority_is_told() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = authority.server(&[]);
    let error = refused(&server.tls_url(""));
    assert!(
        error.contains("the system's certificates") && error.contains("?ca=/path/ca.pem"),
        "{error}"
    );
    let url = server.tls_url(&format!("ca={}", other.ca()));
    let error = refused(&url);
    assert!(
        error.contains(&format!("none of the certificates in {}", other.ca())),
        "{error}"
    );
    let mut node = NodeProcess::start(&url, "1");
    assert_eq!(node.wait().code(), Some(1));
    let error = refused(&server.tls_url("ca=/nowhere/ca.pem"));
    assert!(
        error.contains("certificates") && error.contains("/nowhere/ca.pem"),
        "{error}"
    );
    // Its certificate is for an address.
    let url = server.tls_url(&format!("ca={}", authority.ca()));
    let error = refused(&url.replace("127.0.0.1", "localhost"));
    assert!(
        error.contains("does not hold") && error.contains("localhost"),
        "{error}"
    );
    connect(&url).unwrap();
}

fn a_server_without_tls_is_not_talked_to() {
    let authority = Authority::new();
    let server = server::server();
    for url in [
        server.tls_url(&format!("ca={}", authority.ca())),
        // One that names an authority wants TLS, whatever its scheme.
        server.url(&format!("ca={}", authority.ca())),
    ] {
        let error = refused(&url);
        assert!(error.contains("does not speak TLS"), "{error}");
    }
}

fn a_server_can_want_certificates() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = authority.server(&["--tlsverify", "--tlscacert", &authority.ca()]);
    let url = |keys: &str| server.tls_url(&format!("ca={}&workers=1{keys}", authority.ca()));
    let error = refused(&url(""));
    assert!(
        error.contains("wants a certificate") && error.contains("?certificate="),
        "{error}"
    );
    let of = |[certificate, key]: [String; 2]| format!("&certificate={certificate}&key={key}");
    let error = refused(&url(&of(other.sign("client"))));
    assert!(error.contains("refuses the certificate"), "{error}");
    let mine = authority.sign("client");
    let half = connect(&url(&format!("&certificate={}", mine[0]))).unwrap_err();
    assert!(
        half.is_invalid() && half.to_string().contains("write both"),
        "{half}"
    );
    let error = refused(&url(&of([mine[0].clone(), "/nowhere/key".to_owned()])));
    assert!(error.contains("/nowhere/key"), "{error}");

    let url = url(&of(mine));
    let _node = NodeProcess::start(&url, "1");
    assert_eq!(pool(&url).apply(square, 5).unwrap(), 25);
}

fn credentials_let_in() {
    let operator = Operator::new();
    let server = server::start(&["-js", "-c", &shown(&operator.config())]);
    let url = |file: &Path| server.url(&format!("workers=1&credentials={}", file.display()));
    // Of an account that the server does not know.
    let other = Operator::new();
    let error = refused(&url(&other.credentials("ada")));
    assert!(error.contains("refuses these credentials"), "{error}");
    assert!(refused(&server.url("")).contains("?credentials=/path/file.creds"));
    let error = refused(&url(Path::new("/nowhere/ada.creds")));
    assert!(error.contains("/nowhere/ada.creds"), "{error}");
    let empty = operator.config();
    let error = refused(&url(&empty));
    assert!(
        error.contains("credentials") && error.contains(&shown(&empty)),
        "{error}"
    );

    let _node = NodeProcess::start(&url(&operator.credentials("ada")), "1");
    let pool = pool(&url(&operator.credentials("bob")));
    assert_eq!(pool.apply(square, 6).unwrap(), 36);
}
