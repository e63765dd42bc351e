//! Finding out whether a node is lost, or only the server was away.

use std::time::Duration;

use async_nats::Message;
use async_nats::jetstream::stream::LastRawMessageErrorKind;

use crate::post::Post;
use crate::remains;
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

/// Tells whether a task is no longer in the stream: another node was quicker.
pub async fn is_gone(post: &Post, sequence: u64) -> bool {
    let Ok(Some(tasks)) = remains::stream(post, post.names.tasks()).await else {
        return false;
    };
    let message = tasks.get_raw_message(sequence).await;
    message.is_err_and(|error| error.kind() == LastRawMessageErrorKind::NoMessageFound)
}
