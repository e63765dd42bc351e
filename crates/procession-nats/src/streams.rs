//! Streams and consumers, made where there are none.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{Context, object_store};

use crate::names::{Names, RunsOn};

/// How many tasks wait in the server at most.
const MOST_TASKS: i64 = 100_000;

/// For how long the server knows the ids of messages.
const KNOWN_IDS: Duration = Duration::from_secs(120);

/// After how long an answer that its client has not acknowledged is delivered again. The client does so
/// at once; to get an answer twice does no harm.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// How many answers, or tasks, may be out without being acknowledged.
const MOST_OUT: i64 = 100_000;

/// Returns the stream of tasks.
pub async fn tasks(jetstream: &Context, names: &Names, keep: Duration) -> Result<Stream, String> {
    let config = Config {
        name: names.tasks(),
        subjects: vec![names.all_tasks()],
        max_messages: MOST_TASKS,
        discard: DiscardPolicy::New,
        ..queue(keep)
    };
    stream(jetstream, config).await
}

/// Returns the stream of answers.
pub async fn results(jetstream: &Context, names: &Names, keep: Duration) -> Result<Stream, String> {
    let config = Config {
        name: names.results(),
        subjects: vec![names.all_results(), names.dead()],
        ..queue(keep)
    };
    stream(jetstream, config).await
}

fn queue(keep: Duration) -> Config {
    Config {
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        max_age: keep,
        duplicate_window: KNOWN_IDS.min(keep),
        ..Config::default()
    }
}

async fn stream(jetstream: &Context, config: Config) -> Result<Stream, String> {
    let name = config.name.clone();
    let made = jetstream.get_or_create_stream(config).await;
    made.map_err(|error| format!("the stream {name} cannot be made: {error}"))
}

/// Returns the consumer of the nodes of this build, or of all.
pub async fn nodes_consumer(
    stream: &Stream,
    names: &Names,
    runs_on: RunsOn,
    lease: Duration,
) -> Result<PullConsumer, String> {
    let config = pull::Config {
        durable_name: Some(names.nodes_consumer(runs_on)),
        filter_subject: names.tasks_for(runs_on),
        ack_wait: lease,
        ..consumer(stream)
    };
    made(stream.create_consumer(config).await)
}

/// Returns a client's consumer.
pub async fn client_consumer(
    stream: &Stream,
    names: &Names,
    client: &str,
) -> Result<PullConsumer, String> {
    let config = pull::Config {
        durable_name: Some(Names::client_consumer(client)),
        filter_subject: names.results_of(client),
        ack_wait: ANSWER_WAIT,
        ..consumer(stream)
    };
    made(stream.create_consumer(config).await)
}

fn consumer(stream: &Stream) -> pull::Config {
    pull::Config {
        ack_policy: AckPolicy::Explicit,
        max_deliver: -1,
        max_ack_pending: MOST_OUT,
        max_waiting: 10_000,
        // Of one that nobody asks any more there would be nothing left to get.
        inactive_threshold: stream.cached_info().config.max_age,
        ..pull::Config::default()
    }
}

fn made<E: std::fmt::Display>(consumer: Result<PullConsumer, E>) -> Result<PullConsumer, String> {
    consumer.map_err(|error| format!("a consumer cannot be made: {error}"))
}

/// Returns the object store.
pub async fn bucket(
    jetstream: &Context,
    names: &Names,
    keep: Duration,
) -> Result<object_store::ObjectStore, String> {
    if let Ok(store) = jetstream.get_object_store(names.bucket()).await {
        return Ok(store);
    }
    let config = object_store::Config {
        bucket: names.bucket(),
        max_age: keep,
        storage: StorageType::File,
        ..object_store::Config::default()
    };
    let made = jetstream.create_object_store(config).await;
    made.map_err(|error| {
        format!(
            "the object store {} cannot be made: {error}",
            names.bucket()
        )
    })
}
