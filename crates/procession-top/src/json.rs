//! One look as JSON.

use std::fmt::{Display, Write as _};

use procession_engine::observe::{FamilyView, MemberView, PoolView, PoolWorkerView, QueueView};

use crate::look::Look;

/// Returns a look as JSON, in one line. Times are in seconds, memory in bytes.
#[must_use]
pub fn json(look: &Look) -> String {
    let mut text = String::new();
    let mut object = Object::begin(&mut text);
    list(object.key("families"), &look.families, family);
    object.value("other_builds", Some(look.other_builds));
    object.end();
    text
}

fn family(text: &mut String, family: &FamilyView) {
    let mut object = Object::begin(text);
    object.string("id", Some(&format!("{:032x}", family.id)));
    list(object.key("members"), &family.members, member);
    list(object.key("pools"), &family.pools, pool);
    list(object.key("queues"), &family.queues, queue);
    object.value("shared_bytes", Some(family.shared_bytes));
    object.value("blocks", Some(family.blocks));
    object.end();
}

fn member(text: &mut String, member: &MemberView) {
    let mut object = Object::begin(text);
    object.value("pid", Some(member.pid));
    object.value("parent", member.parent);
    object.string("name", Some(&member.name));
    object.string("state", Some(member.state));
    object.string("waits_for", member.waits_for.as_deref());
    object.value("holder", member.holder);
    object.value("daemon", Some(member.is_daemon));
    object.value("spare", Some(member.is_spare));
    object.value("booted", Some(member.is_booted));
    object.value("threads", Some(member.threads));
    object.value("cpu", Some(member.cpu.as_secs_f64()));
    object.value("resident", Some(member.resident));
    object.value("age", Some(member.age.as_secs_f64()));
    object.end();
}

fn pool(text: &mut String, pool: &PoolView) {
    let mut object = Object::begin(text);
    object.value("owner", Some(pool.owner));
    object.value("number", Some(pool.number));
    object.value("deaths", Some(pool.deaths));
    object.value("retries", Some(pool.retries));
    list(object.key("workers"), &pool.workers, worker);
    object.end();
}

fn worker(text: &mut String, worker: &PoolWorkerView) {
    let mut object = Object::begin(text);
    object.value("index", Some(worker.index));
    object.value("pid", Some(worker.pid));
    object.value("begun", Some(worker.begun));
    object.value("queued", Some(worker.queued));
    object.value("running", worker.running.map(|time| time.as_secs_f64()));
    object.string("function", worker.function.as_deref());
    object.end();
}

fn queue(text: &mut String, queue: &QueueView) {
    let mut object = Object::begin(text);
    object.value("serial", Some(queue.serial));
    object.value("items", Some(queue.items));
    object.value("limit", Some(queue.limit).filter(|&limit| limit > 0));
    object.value("put", Some(queue.put));
    object.value("closed", Some(queue.is_closed));
    list(object.key("users"), &queue.users, number);
    list(object.key("blocked"), &queue.blocked, number);
    object.end();
}

fn number(text: &mut String, number: &u32) {
    // Writing to a string does not fail.
    let _ = write!(text, "{number}");
}

fn list<T>(text: &mut String, items: &[T], write: impl Fn(&mut String, &T)) {
    text.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        write(text, item);
    }
    text.push(']');
}

/// An object in JSON, one member after another; without a value it is null.
struct Object<'a> {
    text: &'a mut String,
    is_empty: bool,
}

impl<'a> Object<'a> {
    fn begin(text: &'a mut String) -> Self {
        text.push('{');
        Self {
            text,
            is_empty: true,
        }
    }

    /// Writes a member's key, in which nothing is to be escaped; its value is to be written next.
    fn key(&mut self, key: &str) -> &mut String {
        if !self.is_empty {
            self.text.push(',');
        }
        self.is_empty = false;
        // As above.
        let _ = write!(self.text, "\"{key}\":");
        self.text
    }

    /// Writes a member whose value is a finite number or a bool, which JSON has as Rust does.
    fn value(&mut self, key: &str, value: Option<impl Display>) {
        let text = self.key(key);
        // As above.
        let _ = match value {
            Some(value) => write!(text, "{value}"),
            None => write!(text, "null"),
        };
    }

    fn string(&mut self, key: &str, string: Option<&str>) {
        let text = self.key(key);
        let Some(string) = string else {
            return text.push_str("null");
        };
        text.push('"');
        for character in string.chars() {
            match character {
                '"' | '\\' => text.extend(['\\', character]),
                '\0'..' ' => {
                    // As above.
                    let _ = write!(text, "\\u{:04x}", u32::from(character));
                }
                _ => text.push(character),
            }
        }
        text.push('"');
    }

    fn end(self) {
        self.text.push('}');
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_look_is_told_whole_and_names_are_escaped() {
        let member = MemberView {
            pid: 1,
            parent: None,
            name: "a\"b\\c\nd\u{e9}".into(),
            state: "running",
            waits_for: Some("lock #2".into()),
            holder: Some(3),
            is_daemon: true,
            is_spare: false,
            is_booted: true,
            threads: 4,
            cpu: Duration::from_millis(1500),
            resident: 5,
            age: Duration::from_secs(6),
        };
        let worker = PoolWorkerView {
            index: 0,
            pid: 7,
            begun: 8,
            queued: 9,
            running: Some(Duration::from_millis(250)),
            function: None,
        };
        let pool = PoolView {
            owner: 1,
            number: 10,
            deaths: 11,
            retries: 12,
            workers: vec![worker],
        };
        let queue = QueueView {
            serial: 13,
            items: 14,
            limit: 0,
            put: 15,
            is_closed: false,
            users: vec![1, 7],
            blocked: Vec::new(),
        };
        let family = FamilyView {
            id: 16,
            members: vec![member],
            pools: vec![pool],
            queues: vec![queue],
            shared_bytes: 17,
            blocks: 18,
        };
        let look = Look {
            families: vec![family],
            other_builds: 19,
            ..Look::default()
        };
        let told = [
            r#"{"families":[{"id":"00000000000000000000000000000010","#,
            r#""members":[{"pid":1,"parent":null,"name":"a\"b\\c\u000ad"#,
            "\u{e9}",
            r#"","state":"running","waits_for":"lock #2","holder":3,"daemon":true,"spare":false,"#,
            r#""booted":true,"threads":4,"cpu":1.5,"resident":5,"age":6}],"#,
            r#""pools":[{"owner":1,"number":10,"deaths":11,"retries":12,"#,
            r#""workers":[{"index":0,"pid":7,"begun":8,"queued":9,"running":0.25,"function":null}]}],"#,
            r#""queues":[{"serial":13,"items":14,"limit":null,"put":15,"closed":false,"#,
            r#""users":[1,7],"blocked":[]}],"shared_bytes":17,"blocks":18}],"other_builds":19}"#,
        ];
        assert_eq!(json(&look), told.concat());
    }
}
