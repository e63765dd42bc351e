//! What is too large for a message.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::push::OrderedConfig;
use async_nats::jetstream::object_store::{DeleteErrorKind, ObjectMetadata, ObjectStore};
use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::{Instant, timeout};

use crate::faults::Fault;
use crate::names::{Names, client_in_object};
use crate::streams;

/// Above how many bytes a job goes through the store, once for all of its tasks.
pub const LARGE_JOB: usize = 32 << 10;

/// How many jobs are remembered.
const JOBS: usize = 8;

/// How large the pieces are, in which objects are kept.
const PIECE: usize = 256 << 10;

/// How long reading an object may take in which nothing comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A job, its name in the store, and when it was put there.
type StoredJob = (Arc<[u8]>, String, Instant);

/// The object store of an application.
pub struct Objects {
    jetstream: Context,
    names: Names,
    keep: Duration,
    count: AtomicU64,
    store: OnceCell<ObjectStore>,
    /// Jobs that this client has stored, under which name, and when.
    stored: Mutex<Vec<StoredJob>>,
    /// Jobs that this node has read, by name.
    read: Mutex<Vec<(String, Bytes)>>,
}

impl Objects {
    /// Makes the store known; it is made when something is put into it.
    pub fn new(jetstream: Context, names: Names, keep: Duration) -> Self {
        Self {
            jetstream,
            names,
            keep,
            count: AtomicU64::new(0),
            store: OnceCell::new(),
            stored: Mutex::default(),
            read: Mutex::default(),
        }
    }

    async fn store(&self) -> Result<&ObjectStore, Fault> {
        let make = || streams::bucket(&self.jetstream, &self.names, self.keep);
        self.store
            .get_or_try_init(make)
            .await
            .map_err(Fault::Unsure)
    }

    /// Stores bytes under a name.
    pub async fn put(&self, name: &str, mut bytes: &[u8]) -> Result<(), Fault> {
        let meta = ObjectMetadata {
            name: name.to_owned(),
            chunk_size: Some(PIECE),
            ..ObjectMetadata::default()
        };
        let put = self.store().await?.put(meta, &mut bytes).await;
        put.map(drop).map_err(Fault::unsure)
    }

    /// Reads an object.
    ///
    /// The library's own reader panics if its question for the pieces is not answered in time.
    pub async fn get(&self, name: &str) -> Result<Bytes, Fault> {
        let store = self.store().await?;
        let info = store.info(name).await.map_err(Fault::unsure)?;
        if info.deleted {
            return Err(Fault::Unsure(format!("the object {name} is deleted")));
        }
        let mut bytes = Vec::with_capacity(info.size);
        if info.chunks > 0 {
            let stream = self.jetstream.get_stream(self.names.bucket_stream()).await;
            let config = OrderedConfig {
                deliver_subject: self.jetstream.client().new_inbox(),
                filter_subject: format!("$O.{}.C.{}", self.names.bucket(), info.nuid),
                ..OrderedConfig::default()
            };
            let pieces = stream.map_err(Fault::unsure)?.create_consumer(config).await;
            let pieces = pieces.map_err(Fault::unsure)?.messages().await;
            let mut pieces = pieces.map_err(Fault::unsure)?;
            let late = |_| Fault::Unsure(format!("the object {name} does not come"));
            while bytes.len() < info.size {
                let piece = timeout(PATIENCE, pieces.try_next()).await.map_err(late)?;
                let Some(piece) = piece.map_err(Fault::unsure)? else {
                    break;
                };
                bytes.extend_from_slice(&piece.payload);
            }
        }
        if bytes.len() == info.size {
            Ok(bytes.into())
        } else {
            Err(Fault::Unsure(format!("the object {name} is not whole")))
        }
    }

    /// Deletes an object. If it stays, it is gone when it is too old.
    pub async fn delete(&self, name: &str) {
        if let Ok(store) = self.store().await {
            _ = store.delete(name).await;
        }
    }

    /// Returns the name under which a job of this client is stored.
    pub async fn put_job(&self, job: &Arc<[u8]>, client: &str) -> Result<String, Fault> {
        // Held while it is being stored: its other tasks wait for that.
        let mut stored = self.stored.lock().await;
        // One that is soon too old is stored again.
        let is_fresh = |at: &Instant| at.elapsed() < self.keep / 2;
        let same = |known: &Arc<[u8]>| Arc::ptr_eq(known, job) || known == job;
        let known = stored
            .iter()
            .find(|(known, _, at)| same(known) && is_fresh(at));
        if let Some((_, name, _)) = known {
            return Ok(name.clone());
        }
        let name = format!("job-{client}-{}", self.count.fetch_add(1, Relaxed));
        self.put(&name, job).await?;
        if stored.len() == JOBS {
            // Tasks of it may still wait in the stream: it stays there until it is too old.
            stored.remove(0);
        }
        stored.push((job.clone(), name.clone(), Instant::now()));
        Ok(name)
    }

    /// Reads a job, unless it was read lately.
    pub async fn get_job(&self, name: &str) -> Result<Bytes, Fault> {
        // Held while it is being read: its other tasks wait for that.
        let mut read = self.read.lock().await;
        if let Some((_, job)) = read.iter().find(|(known, _)| known == name) {
            return Ok(job.clone());
        }
        let job = self.get(name).await?;
        if read.len() == JOBS {
            read.remove(0);
        }
        read.push((name.to_owned(), job.clone()));
        Ok(job)
    }

    /// Deletes all objects of a client.
    pub async fn delete_all_of(&self, client: &str) -> Result<(), Fault> {
        let store = self.store().await?;
        let mut list = store.list().await.map_err(Fault::unsure)?;
        let mut names = Vec::new();
        while let Some(object) = list.try_next().await.map_err(Fault::unsure)? {
            if client_in_object(&object.name) == Some(client) {
                names.push(object.name);
            }
        }
        for name in names {
            match store.delete(name).await {
                Ok(()) => {}
                // Somebody else was faster.
                Err(error) if error.kind() == DeleteErrorKind::NotFound => {}
                Err(error) => return Err(Fault::unsure(error)),
            }
        }
        Ok(())
    }
}
