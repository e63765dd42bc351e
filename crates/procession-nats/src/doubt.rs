//! First deliveries that may be second ones.
//!
//! A server writes down now and then what it has delivered. When it is killed and comes back, it
//! delivers the latest tasks once more, to any node, as if for the first time.

use std::collections::HashSet;
use std::time::Duration;

use crate::held::Held;
use crate::post::Post;
use crate::streams;
use crate::wire::Whose;

/// How long other nodes have to connect again, and to say what they hold.
const PATIENCE: Duration = Duration::from_secs(1);

/// The same for a node that has just been started. The others are most likely connected.
const AT_START: Duration = Duration::from_millis(250);

/// The tasks that other nodes held, or had just done, when this one connected.
#[derive(Debug, Default)]
pub struct Doubt {
    /// The last task that was in the stream then.
    last: u64,
    /// By their places there.
    held: HashSet<u64>,
}

impl Doubt {
    /// Asks the other nodes.
    pub async fn find(post: &Post) -> Result<Self, String> {
        let (names, keep) = (&post.names, post.address.keep);
        let is_again = *post.reconnects.borrow() > 0;
        let patience = if is_again { PATIENCE } else { AT_START };
        let nodes = post.ask_nodes_for(patience, Whose::All).await;
        let nodes = nodes.map_err(|fault| fault.to_string())?;
        let tasks = streams::tasks(&post.jetstream, names, keep).await?;
        Ok(Self {
            last: tasks.cached_info().state.last_sequence,
            held: nodes
                .into_iter()
                .flat_map(|node| node.holds)
                .map(|it| it.sequence)
                .collect(),
        })
    }

    /// Tells whether another node may have a task that was delivered here.
    pub fn is_about(&self, held: &Held) -> bool {
        held.sequence <= self.last && self.held.contains(&held.sequence)
    }
}
