//! What streams, subjects and consumers are called.

use procession::distributed::NodeInfo;

/// Which nodes can run a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunsOn {
    /// Those of the client's build.
    ThisBuild,
    /// Any: its function has a name.
    AnyBuild,
}

/// The names of one application and one build of it.
#[derive(Clone, Debug)]
pub struct Names {
    app: String,
    build: String,
}

impl Names {
    /// Makes the names of an application, for this build of it.
    pub fn new(app: &str) -> Self {
        let build = NodeInfo::of_this_program("", 0).build;
        Self {
            app: app.to_owned(),
            build: format!("{build:016x}"),
        }
    }

    /// The stream of tasks.
    pub fn tasks(&self) -> String {
        format!("procession-{}", self.app)
    }

    /// The subjects of all tasks, of all builds.
    pub fn all_tasks(&self) -> String {
        format!("procession.{}.tasks.>", self.app)
    }

    /// The subjects of the tasks that nodes of this build, or of any, run.
    pub fn tasks_for(&self, runs_on: RunsOn) -> String {
        format!("procession.{}.tasks.{}.>", self.app, self.word(runs_on))
    }

    /// The subjects of the tasks of a client.
    pub fn tasks_of(&self, client: &str) -> String {
        format!("procession.{}.tasks.*.{client}.>", self.app)
    }

    /// The subject of a task.
    pub fn task(&self, runs_on: RunsOn, client: &str, id: u64) -> String {
        let (app, word) = (&self.app, self.word(runs_on));
        format!("procession.{app}.tasks.{word}.{client}.{id}")
    }

    /// The consumer that nodes share.
    pub fn nodes_consumer(&self, runs_on: RunsOn) -> String {
        format!("nodes-{}", self.word(runs_on))
    }

    fn word(&self, runs_on: RunsOn) -> &str {
        match runs_on {
            RunsOn::ThisBuild => &self.build,
            RunsOn::AnyBuild => "any",
        }
    }

    /// The stream of answers and dead letters.
    pub fn results(&self) -> String {
        format!("procession-{}-results", self.app)
    }

    /// The subjects of all answers.
    pub fn all_results(&self) -> String {
        format!("procession.{}.results.>", self.app)
    }

    /// The subject of the answers for a client.
    pub fn results_of(&self, client: &str) -> String {
        format!("procession.{}.results.{client}", self.app)
    }

    /// The consumer of a client.
    pub fn client_consumer(client: &str) -> String {
        format!("client-{client}")
    }

    /// The client that a consumer is of.
    pub fn client_of(consumer: &str) -> Option<&str> {
        consumer.strip_prefix("client-")
    }

    /// The subject of dead letters.
    pub fn dead(&self) -> String {
        format!("procession.{}.dead", self.app)
    }

    /// The object store.
    pub fn bucket(&self) -> String {
        format!("procession-{}", self.app)
    }

    /// The stream that the object store is in.
    pub fn bucket_stream(&self) -> String {
        format!("OBJ_{}", self.bucket())
    }

    /// The subject where clients say that they live, and who is gone is told.
    pub fn clients(&self) -> String {
        format!("procession.{}.clients", self.app)
    }

    /// The subject where clients are asked whether they live.
    pub fn roll_call(&self) -> String {
        format!("procession.{}.rollcall", self.app)
    }

    /// The subject of cancels.
    pub fn cancel(&self) -> String {
        format!("procession.{}.cancel", self.app)
    }

    /// The subject where nodes are asked who they are.
    pub fn nodes(&self) -> String {
        format!("procession.{}.nodes", self.app)
    }

    /// The subject where nodes are asked for a task that somebody may hold.
    pub fn holders(&self) -> String {
        format!("procession.{}.holders", self.app)
    }
}

/// Returns the id of the task in its subject.
pub fn id_in(subject: &str) -> Option<u64> {
    subject.rsplit('.').next()?.parse().ok()
}

/// Returns the client in the subject of its answers.
pub fn client_in(subject: &str) -> Option<&str> {
    subject.rsplit('.').next()
}

/// Returns the client in the name of an object of it.
pub fn client_in_object(name: &str) -> Option<&str> {
    name.split('-').nth(1)
}
