//! Leaving: nothing of a client that closes stays behind.

use std::time::Duration;

use procession::distributed::RunningTasks;
use tokio::time::timeout;

use crate::post::Post;
use crate::remains;
use crate::wire::ClientNews;
use crate::withdraw::tell_nodes;

/// How long leaving may take. What is left then nodes remove, after a lease.
const LIMIT: Duration = Duration::from_secs(2);

/// Cancels what is out, and removes all that is of this client.
pub async fn leave(post: &Post, ids: Vec<u64>, is_connected: bool) {
    if is_connected {
        // Nodes see to what is left then.
        _ = timeout(LIMIT, clear(post, &ids)).await;
    }
}

async fn clear(post: &Post, ids: &[u64]) {
    if !ids.is_empty() {
        tell_nodes(post, ids, RunningTasks::Killed).await;
    }
    // If the server does not do it, nodes will, for nobody has said then that this client left.
    if remains::remove(post, &post.token).await.is_ok() {
        let leaves = ClientNews::Leaves(post.token.clone());
        post.say(post.names.clients(), &leaves).await;
    }
    _ = post.client.flush().await;
}
