//! A task on the client's side, from when it is shipped until its answer.

use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use procession::distributed::TaskEnvelope;

use crate::faults::Fault;
use crate::names::RunsOn;
use crate::objects::LARGE_JOB;
use crate::post::Post;
use crate::wire::{self, Part, TaskHead};

/// A task and its bytes, apart.
pub struct Parcel {
    envelope: TaskEnvelope,
    job: Arc<[u8]>,
    input: Bytes,
}

impl From<TaskEnvelope> for Parcel {
    fn from(mut envelope: TaskEnvelope) -> Self {
        let job = std::mem::take(&mut envelope.job);
        let input = std::mem::take(&mut envelope.input).into();
        Self {
            envelope,
            job,
            input,
        }
    }
}

impl Parcel {
    /// Tells which nodes can run it.
    pub fn runs_on(&self) -> RunsOn {
        match self.envelope.build {
            Some(_) => RunsOn::ThisBuild,
            None => RunsOn::AnyBuild,
        }
    }

    /// Publishes the task; returns its place in the stream, and the object that has its arguments.
    pub async fn publish(&self, post: &Post, attempt: u32) -> Result<(u64, Option<String>), Fault> {
        let (client, id, room) = (&post.token, self.envelope.id, post.room());
        let job = if self.job.len() > LARGE_JOB.min(room) {
            Part::Object(post.objects.put_job(&self.job, client).await?)
        } else {
            Part::Here(self.job.len())
        };
        let here: &[u8] = match &job {
            Part::Here(_) => &self.job,
            Part::Object(_) => &[],
        };
        let mut object = None;
        let (input, bytes): (_, &[u8]) = if here.len() + self.input.len() > room {
            let name = format!("in-{client}-{id}");
            post.objects.put(&name, &self.input).await?;
            object = Some(name.clone());
            (Part::Object(name), &[])
        } else {
            (Part::Here(self.input.len()), &self.input)
        };
        let head = TaskHead {
            client: client.clone(),
            lease: post.address.client_lease,
            envelope: self.envelope.clone(),
            job,
            input,
        };
        let payload = wire::write(&head, &[here, bytes]).map_err(Fault::Refused)?;
        // One that the server has lost may be known there by its id still.
        let message = match attempt {
            0 => format!("{client}-{id}"),
            _ => format!("{client}-{id}-r{attempt}"),
        };
        let subject = post.names.task(self.runs_on(), client, id);
        let stored = post.publish(subject, message, HeaderMap::new(), payload);
        Ok((stored.await?, object))
    }
}
