//! Leaving: nothing of a client that closes stays behind.

use std::time::Duration;

use procession::distributed::RunningTasks;
use tokio::time::timeout;

use crate::names::Names;
use crate::post::Post;
use crate::streams;
use crate::withdraw::tell_nodes;

/// How long leaving may take. What is left then goes when it is too old.
const LIMIT: Duration = Duration::from_secs(2);

/// Cancels what is out, and removes what is queued, the jobs and the consumer.
pub async fn leave(post: &Post, ids: Vec<u64>, is_connected: bool) {
    if is_connected {
        // What is left then goes when it is too old.
        _ = timeout(LIMIT, clear(post, &ids)).await;
    }
}

async fn clear(post: &Post, ids: &[u64]) {
    let (names, keep) = (&post.names, post.address.keep);
    if !ids.is_empty() {
        tell_nodes(post, ids, RunningTasks::Killed).await;
        if let Ok(tasks) = streams::tasks(&post.jetstream, names, keep).await {
            _ = tasks.purge().filter(names.tasks_of(&post.token)).await;
        }
    }
    if let Ok(results) = post.jetstream.get_stream(names.results()).await {
        _ = results.purge().filter(names.results_of(&post.token)).await;
        let consumer = Names::client_consumer(&post.token);
        _ = results.delete_consumer(&consumer).await;
    }
    post.objects.delete_jobs().await;
    _ = post.client.flush().await;
}
