//! What the server keeps of a client: found, and removed.

use std::collections::HashSet;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{ConsumerErrorKind, Stream};
use futures_util::TryStreamExt;

use crate::faults::Fault;
use crate::names::{Names, client_in};
use crate::post::Post;

/// Returns the clients that have a consumer or answers there.
pub async fn owners(post: &Post) -> Result<HashSet<String>, Fault> {
    let mut owners = HashSet::new();
    let Some(results) = stream(post, post.names.results()).await? else {
        return Ok(owners);
    };
    let mut consumers = results.consumer_names();
    while let Some(name) = consumers.try_next().await.map_err(Fault::unsure)? {
        owners.extend(Names::client_of(&name).map(str::to_owned));
    }
    let answers = results.info_with_subjects(post.names.all_results()).await;
    let mut answers = answers.map_err(Fault::unsure)?;
    while let Some((subject, _)) = answers.try_next().await.map_err(Fault::unsure)? {
        owners.extend(client_in(&subject).map(str::to_owned));
    }
    Ok(owners)
}

/// Removes all that is of a client. The consumer goes first: a client that finds none was counted as dead.
pub async fn remove(post: &Post, client: &str) -> Result<(), Fault> {
    let names = &post.names;
    let results = stream(post, names.results()).await?;
    if let Some(results) = &results {
        let consumer = Names::client_consumer(client);
        if let Err(error) = results.delete_consumer(&consumer).await {
            match error.kind() {
                ConsumerErrorKind::JetStream(told)
                    if told.error_code() == ErrorCode::CONSUMER_NOT_FOUND => {}
                _ => return Err(Fault::unsure(error)),
            }
        }
    }
    if let Some(tasks) = stream(post, names.tasks()).await? {
        let purged = tasks.purge().filter(names.tasks_of(client)).await;
        purged.map_err(Fault::unsure)?;
    }
    if let Some(results) = results {
        let purged = results.purge().filter(names.results_of(client)).await;
        purged.map_err(Fault::unsure)?;
    }
    if stream(post, names.bucket_stream()).await?.is_some() {
        post.objects.delete_all_of(client).await?;
    }
    Ok(())
}

/// Returns a stream, if there is one.
pub async fn stream(post: &Post, name: String) -> Result<Option<Stream>, Fault> {
    match post.jetstream.get_stream(name).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(told)
                if told.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            _ => Err(Fault::unsure(error)),
        },
    }
}
