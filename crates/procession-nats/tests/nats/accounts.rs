//! Accounts of a server: who operates it, an account with JetStream, and its users.

use std::fs;
use std::path::PathBuf;

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;

use crate::server::Folder;

/// Who operates a server, with one account.
pub struct Operator {
    folder: Folder,
    account: KeyPair,
    config: PathBuf,
}

impl Operator {
    pub fn new() -> Self {
        let (operator, system, account) = (
            KeyPair::new_operator(),
            KeyPair::new_account(),
            KeyPair::new_account(),
        );
        let me = token(&operator, &operator, r#""type":"operator","version":2"#);
        let of = |account: &KeyPair, storage: i64| {
            let limits = format!(
                r#""subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"conn":-1,
                "leaf":-1,"mem_storage":{storage},"disk_storage":{storage},"streams":-1,"consumer":-1"#
            );
            let claims = format!(r#""limits":{{{limits}}},"type":"account","version":2"#);
            token(&operator, account, &claims)
        };
        let (system_key, account_key) = (system.public_key(), account.public_key());
        let (system, known) = (of(&system, 0), of(&account, -1));
        let folder = Folder::new();
        let config = folder.path().join("server.conf");
        let text = format!(
            "operator: {me}\nsystem_account: {system_key}\nresolver: MEMORY\n\
             resolver_preload: {{ {system_key}: {system}, {account_key}: {known} }}\n"
        );
        fs::write(&config, text).unwrap();
        Self {
            folder,
            account,
            config,
        }
    }

    /// The configuration of a server that this one operates.
    pub fn config(&self) -> PathBuf {
        self.config.clone()
    }

    /// Makes a user of the account; returns the file with the credentials.
    pub fn credentials(&self, name: &str) -> PathBuf {
        let user = KeyPair::new_user();
        let claims = r#""subs":-1,"data":-1,"payload":-1,"type":"user","version":2"#;
        let jwt = token(&self.account, &user, claims);
        let seed = user.seed().unwrap();
        let file = self.folder.path().join(format!("{name}.creds"));
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        fs::write(&file, text).unwrap();
        file
    }
}

/// Signs what is claimed of somebody.
fn token(issuer: &KeyPair, subject: &KeyPair, claims: &str) -> String {
    let (issued_by, of) = (issuer.public_key(), subject.public_key());
    let claims = format!(
        r#"{{"jti":"{of}","iat":1700000000,"iss":"{issued_by}","name":"{of}","sub":"{of}","nats":{{{claims}}}}}"#
    );
    let head = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let signed = format!("{head}.{}", BASE64URL_NOPAD.encode(claims.as_bytes()));
    let signature = BASE64URL_NOPAD.encode(&issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}
