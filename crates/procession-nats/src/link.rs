//! The connection to a server.

use std::time::Duration;

use async_nats::jetstream::context::{AccountErrorKind, ContextBuilder};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use procession::{Error, Result};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::address::Address;
use crate::faults::unavailable;

/// How long a server has to answer the first call.
const FIRST_CALL: Duration = Duration::from_secs(5);

/// How long the server may keep one request.
pub const REQUEST: Duration = Duration::from_secs(5);

/// What headers and heads of messages may take of the server's limit.
const ROOM_FOR_HEADS: usize = 16 << 10;

/// A connection to a server that has JetStream.
pub struct Link {
    /// The connection.
    pub client: Client,
    /// Its JetStream.
    pub jetstream: Context,
    /// What happens to the connection.
    pub events: UnboundedReceiver<Event>,
    /// A word that no other connection has.
    pub token: String,
}

impl Link {
    /// Connects, and asks whether the server has JetStream.
    pub async fn connect(address: &Address, options: ConnectOptions) -> Result<Self> {
        let connecting = timeout(FIRST_CALL, Self::begin(address, options));
        connecting.await.unwrap_or_else(|_| {
            Err(absent(
                address,
                &format!("does not answer within {} s", FIRST_CALL.as_secs()),
            ))
        })
    }

    async fn begin(address: &Address, options: ConnectOptions) -> Result<Self> {
        let (told, events) = unbounded_channel();
        let options = address
            .access
            .options(options, &address.shown)
            .await?
            .name(format!("procession {}", address.name))
            .client_capacity(16 << 10)
            .request_timeout(Some(REQUEST))
            // A lease is short: who comes back late has lost what it held.
            .reconnect_delay_callback(|attempts| Duration::from_millis(50 * attempts.min(5) as u64))
            .event_callback(move |event| {
                // Nobody listens when the connection ends.
                _ = told.send(event);
                std::future::ready(())
            });
        let connecting = options.connect(address.server.clone());
        let client = connecting.await.map_err(|error| match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                unavailable(format!(
                    "the NATS server at {} refuses these credentials ({error}): write \
                     nats://user:password@host:4222, or ?credentials=/path/file.creds",
                    address.shown
                ))
            }
            _ => match address.access.refusal(&error) {
                Some(why) => unavailable(format!("the NATS server at {} {why}", address.shown)),
                None => absent(address, &format!("cannot be reached ({error})")),
            },
        })?;
        let jetstream = ContextBuilder::new().timeout(REQUEST).build(client.clone());
        check(&jetstream, address).await?;
        let token = new_token(&client);
        Ok(Self {
            client,
            jetstream,
            events,
            token,
        })
    }
}

/// Makes a word that nobody else has.
pub fn new_token(client: &Client) -> String {
    let inbox = client.new_inbox();
    inbox.rsplit('.').next().unwrap_or(&inbox).to_owned()
}

/// Returns how many bytes of users fit into a message.
pub fn room(client: &Client) -> usize {
    client.max_payload().saturating_sub(ROOM_FOR_HEADS)
}

async fn check(jetstream: &Context, address: &Address) -> Result<()> {
    let asked = jetstream.query_account().await;
    asked.map(drop).map_err(|error| match error.kind() {
        AccountErrorKind::JetStream(told)
            if told.error_code() == ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT =>
        {
            unavailable(format!(
                "the NATS server at {} has no JetStream for this account ({told})",
                address.shown
            ))
        }
        _ => unavailable(format!(
            "the NATS server at {} has no JetStream ({error}): start it by nats-server --jetstream",
            address.shown
        )),
    })
}

fn absent(address: &Address, what: &str) -> Error {
    unavailable(format!(
        "the NATS server at {} {what}: start one there by nats-server --jetstream, or name another \
         address",
        address.shown
    ))
}
