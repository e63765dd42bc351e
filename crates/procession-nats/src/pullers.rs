//! Where a node's tasks come from.

use crate::names::RunsOn;
use crate::post::Post;
use crate::pull::{Pulled, Puller};
use crate::streams;

/// Requests for tasks of this build, and for those that any build runs.
pub struct Pullers {
    this_build: Puller,
    any_build: Puller,
    /// Whether nothing more is asked for, and of which of them everything has come.
    is_ending: bool,
    ended: [bool; 2],
}

impl Pullers {
    /// Makes streams and consumers where there are none, and gets ready to ask.
    pub async fn open(post: &Post) -> Result<Self, String> {
        let (names, keep) = (&post.names, post.address.keep);
        // A node may be there first.
        streams::results(&post.jetstream, names, keep).await?;
        Ok(Self {
            this_build: puller(post, RunsOn::ThisBuild).await?,
            any_build: puller(post, RunsOn::AnyBuild).await?,
            is_ending: false,
            ended: [false; 2],
        })
    }

    /// Asks both for tasks, half of the room each at least.
    pub async fn ask(&mut self, room: usize) {
        let half = room.div_ceil(2);
        let rest = room.saturating_sub(self.any_build.asked());
        self.this_build.ask(rest.max(half)).await;
        self.any_build.ask(half).await;
    }

    /// Waits for what comes next. Nothing is lost if it is dropped.
    pub async fn next(&mut self) -> Pulled {
        loop {
            let (index, pulled) = tokio::select! {
                pulled = self.this_build.next(), if !self.ended[0] => (0, pulled),
                pulled = self.any_build.next(), if !self.ended[1] => (1, pulled),
                else => return Pulled::Gone,
            };
            match pulled {
                Pulled::Gone if self.is_ending => self.ended[index] = true,
                pulled => return pulled,
            }
        }
    }

    /// Ends the requests: what was sent already still comes, then [`Pulled::Gone`].
    pub async fn end(&mut self) {
        if !self.is_ending {
            self.is_ending = true;
            self.this_build.end().await;
            self.any_build.end().await;
        }
    }
}

async fn puller(post: &Post, runs_on: RunsOn) -> Result<Puller, String> {
    let (names, address) = (&post.names, &post.address);
    let tasks = streams::tasks(&post.jetstream, names, address.keep).await?;
    let consumer = streams::nodes_consumer(&tasks, names, runs_on, address.lease).await?;
    Puller::new(&post.client, &post.jetstream, consumer).await
}
