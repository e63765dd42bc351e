//! Finding tasks that a server has lost.
//!
//! A server that loses power loses its last messages; one that keeps them for a time removes a
//! task that waits, or runs, for longer. Of neither anybody is told.

use std::collections::HashSet;

use async_nats::jetstream::consumer::PullConsumer;
use futures_util::TryStreamExt;

use crate::faults::Fault;
use crate::names::{Names, id_in};
use crate::post::Post;
use crate::streams;
use crate::wire::Whose;

/// Returns those of a client's tasks that are neither in the stream nor on a node, and that are not
/// answered.
///
/// It is asked in this order: a task that a node gives back is in the stream before it leaves the
/// node, and an answer is stored before its task leaves the stream.
///
/// # Errors
/// If answers are on their way: one can be of a task that is no longer in the stream.
pub async fn lost(post: &Post, suspects: Vec<u64>) -> Result<Vec<u64>, Fault> {
    let (names, keep) = (&post.names, post.address.keep);
    let tasks = streams::tasks(&post.jetstream, names, keep).await;
    let tasks = tasks.map_err(Fault::Unsure)?;
    let subjects = tasks.info_with_subjects(names.tasks_of(&post.token)).await;
    let mut subjects = subjects.map_err(Fault::unsure)?;
    let mut present = HashSet::new();
    while let Some((subject, _)) = subjects.try_next().await.map_err(Fault::unsure)? {
        present.extend(id_in(&subject));
    }
    for node in post.ask_nodes(Whose::Of(post.token.clone())).await? {
        present.extend(node.holds.into_iter().map(|it| it.id));
    }
    let lost: Vec<u64> = suspects
        .into_iter()
        .filter(|id| !present.contains(id))
        .collect();
    if !lost.is_empty() {
        let results = streams::results(&post.jetstream, names, keep).await;
        let results = results.map_err(Fault::Unsure)?;
        let consumer = Names::client_consumer(&post.token);
        let consumer: PullConsumer = results
            .get_consumer(&consumer)
            .await
            .map_err(Fault::unsure)?;
        let info = consumer.cached_info();
        if info.num_pending > 0 || info.num_ack_pending > 0 {
            return Err(Fault::Unsure("answers are on their way".to_owned()));
        }
    }
    Ok(lost)
}
