//! What the messages say.
//!
//! Each begins with what postcard makes of its head. The bytes of users follow as they are, for
//! they may be many.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use procession::distributed::{Answer, NodeInfo, RunningTasks, TaskEnvelope};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// How many nodes were lost that had the task.
pub const LOSSES: &str = "Procession-Losses";
/// Why a task is among the dead letters.
pub const REASON: &str = "Procession-Reason";
/// Which function a dead letter was for.
pub const FUNCTION: &str = "Procession-Function";

/// Where some of the user's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// So many of them follow the head.
    Here(usize),
    /// In the object store, under this name.
    Object(String),
}

/// A task, but for its bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskHead {
    /// Who wants the answer.
    pub client: String,
    /// After which silence that one counts as dead.
    pub lease: Duration,
    /// The task, without its bytes.
    pub envelope: TaskEnvelope,
    /// Its job.
    pub job: Part,
    /// Its arguments.
    pub input: Part,
}

/// An answer, but for its bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AnswerHead {
    /// Which task it is for.
    pub id: u64,
    /// The answer, without its bytes.
    pub answer: Answer,
    /// The bytes of [`Answer::Done`].
    pub part: Part,
}

/// Cancels tasks of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cancel {
    /// Whose tasks.
    pub client: String,
    /// Which.
    pub ids: Vec<u64>,
    /// What happens to those that run.
    pub running: RunningTasks,
}

/// Asks nodes who they are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodesQuestion {
    /// Whose tasks they are to list, too.
    pub tasks: Whose,
}

/// Whose tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whose {
    /// None.
    Nobodys,
    /// Those of a client.
    Of(String),
    /// All, and those that are just done.
    All,
}

/// What a node says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodesReply {
    /// Who it is.
    pub info: NodeInfo,
    /// Which of those tasks it holds.
    pub holds: Vec<Holding>,
}

/// A task that a node holds, or has just done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Holding {
    /// Its id for its client.
    pub id: u64,
    /// Its place in the stream.
    pub sequence: u64,
}

/// Asks whether a node holds a task that was delivered to another one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HoldersQuestion {
    /// Whose task.
    pub client: String,
    /// Which.
    pub id: u64,
    /// Its place in the stream.
    pub sequence: u64,
    /// Where it is acknowledged from now on.
    pub reply: String,
}

/// What is told of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientNews {
    /// It says itself that it lives, and after which silence it counts as dead.
    Lives {
        /// Who it is.
        client: String,
        /// Its lease.
        lease: Duration,
    },
    /// It says itself that it leaves, and that it has removed what was of it.
    Leaves(String),
    /// A node says that it counts as dead.
    IsDead(String),
}

/// Asks clients to say that they live.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RollCall {
    /// Which client; `None` for all.
    pub client: Option<String>,
}

/// Writes a head, and bytes behind it.
pub fn write(head: &impl Serialize, parts: &[&[u8]]) -> Result<Bytes, String> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let bytes = Vec::with_capacity(length + 256);
    let mut bytes = postcard::to_extend(head, bytes).map_err(|error| error.to_string())?;
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    Ok(bytes.into())
}

/// Reads a head, and returns what is behind it.
pub fn read<T: DeserializeOwned>(bytes: &Bytes) -> Result<(T, Bytes), String> {
    let (head, rest) = postcard::take_from_bytes(bytes)
        .map_err(|error| format!("a message that cannot be read ({error})"))?;
    Ok((head, bytes.slice_ref(rest)))
}

/// Cuts off the bytes that are here; `None` for those in the object store.
pub fn cut(part: &Part, rest: &mut Bytes) -> Result<Option<Bytes>, String> {
    match part {
        Part::Here(length) if *length <= rest.len() => Ok(Some(rest.split_to(*length))),
        Part::Here(_) => Err("a message that was cut short".to_owned()),
        Part::Object(_) => Ok(None),
    }
}

/// Reads how many nodes were lost with the task.
pub fn losses(headers: Option<&HeaderMap>) -> u32 {
    headers
        .and_then(|headers| headers.get(LOSSES))
        .and_then(|losses| losses.as_str().parse().ok())
        .unwrap_or(0)
}
