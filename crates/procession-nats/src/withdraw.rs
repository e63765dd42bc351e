//! Cancelling what was shipped.

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::Stream;
use futures_util::{StreamExt, stream};
use procession::distributed::RunningTasks;

use crate::names::RunsOn;
use crate::post::Post;
use crate::streams;
use crate::wire::Cancel;

/// A task that was shipped.
pub struct Shipped {
    /// Which.
    pub id: u64,
    /// Which nodes can run it.
    pub runs_on: RunsOn,
    /// Its place in the stream, if it is known.
    pub sequence: Option<u64>,
}

/// How many ids go into one message.
const IDS: usize = 20_000;

/// How many messages are removed at a time.
const REMOVALS: usize = 64;

/// Tells the nodes, then removes from the stream what no node has got yet; returns the ids of these.
/// Of the others nodes tell.
pub async fn withdraw(post: &Post, shipped: Vec<Shipped>, running: RunningTasks) -> Vec<u64> {
    let ids: Vec<u64> = shipped.iter().map(|it| it.id).collect();
    tell_nodes(post, &ids, running).await;
    let keep = post.address.keep;
    let Ok(tasks) = streams::tasks(&post.jetstream, &post.names, keep).await else {
        return Vec::new();
    };
    let of_build = delivered(post, &tasks, RunsOn::ThisBuild).await;
    let of_any = delivered(post, &tasks, RunsOn::AnyBuild).await;
    let waiting = shipped.into_iter().filter_map(|it| {
        let delivered = match it.runs_on {
            RunsOn::ThisBuild => of_build,
            RunsOn::AnyBuild => of_any,
        };
        let sequence = it.sequence.filter(|sequence| *sequence > delivered)?;
        Some((it.id, sequence))
    });
    let removals = waiting.map(|(id, sequence)| {
        let tasks = &tasks;
        async move {
            let removed = tasks.delete_message(sequence).await;
            matches!(removed, Ok(true)).then_some(id)
        }
    });
    let removals = stream::iter(removals).buffer_unordered(REMOVALS);
    removals.filter_map(std::future::ready).collect().await
}

/// Returns the place of the last task that nodes have got.
async fn delivered(post: &Post, tasks: &Stream, runs_on: RunsOn) -> u64 {
    let consumer = tasks
        .get_consumer(&post.names.nodes_consumer(runs_on))
        .await;
    // Without a consumer there has never been a node.
    consumer.map_or(0, |consumer: PullConsumer| {
        consumer.cached_info().delivered.stream_sequence
    })
}

/// Tells the nodes which tasks of this client are cancelled.
pub async fn tell_nodes(post: &Post, ids: &[u64], running: RunningTasks) {
    for ids in ids.chunks(IDS) {
        let cancel = Cancel {
            client: post.token.clone(),
            ids: ids.to_vec(),
            running,
        };
        post.say(post.names.cancel(), &cancel).await;
    }
    _ = post.client.flush().await;
}
