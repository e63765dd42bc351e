//! Finding out whether a node is lost, or only the server was away.

use std::time::Duration;

use async_nats::Message;

use crate::post::Post;
use crate::wire::{self, HoldersQuestion};

/// How long other nodes have to say that they hold a task. If the server was away they have just
/// connected again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks whether another node holds a task; that one then goes on with it, and acknowledges this
/// delivery of it.
pub async fn is_held_elsewhere(post: &Post, question: HoldersQuestion) -> bool {
    ask(post, &question).await.unwrap_or(false)
}

async fn ask(post: &Post, question: &HoldersQuestion) -> Option<bool> {
    let question = wire::write(question, &[]).ok()?;
    let first = |_: &[Message]| Some(Duration::ZERO);
    let told = post.ask(post.names.holders(), question, PATIENCE, first);
    Some(!told.await.ok()?.is_empty())
}
