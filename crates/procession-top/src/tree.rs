//! The processes of a family in the order in which a tree shows them.

use std::collections::HashSet;

use procession_engine::observe::MemberView;

/// What the children of one process are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Age,
    Cpu,
    Memory,
    Name,
}

impl Order {
    pub fn next(self) -> Self {
        match self {
            Self::Age => Self::Cpu,
            Self::Cpu => Self::Memory,
            Self::Memory => Self::Name,
            Self::Name => Self::Age,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Cpu => "processor time",
            Self::Memory => "memory",
            Self::Name => "name",
        }
    }
}

/// A process, and how deep in the tree it is.
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a> {
    pub member: &'a MemberView,
    pub depth: usize,
    /// How many processes below it are not shown.
    pub folded: usize,
}

/// Returns the processes, each behind its parent. Those below a process in `folded` are left
/// out.
pub fn branches<'a>(
    members: &'a [MemberView],
    order: Order,
    folded: &HashSet<u32>,
) -> Vec<Branch<'a>> {
    let mut sorted: Vec<&MemberView> = members.iter().collect();
    sorted.sort_by(|one, other| match order {
        Order::Age => other.age.cmp(&one.age),
        Order::Cpu => other.cpu.cmp(&one.cpu),
        Order::Memory => other.resident.cmp(&one.resident),
        Order::Name => one.name.cmp(&other.name),
    });
    let known: HashSet<u32> = members.iter().map(|member| member.pid).collect();
    let mut found = Vec::new();
    let is_root = |member: &&&MemberView| {
        let parent = member.parent.filter(|&parent| parent != member.pid);
        parent.is_none_or(|parent| !known.contains(&parent))
    };
    for member in sorted.iter().filter(is_root) {
        add(member, 0, &sorted, folded, &mut found);
    }
    found
}

fn add<'a>(
    member: &'a MemberView,
    depth: usize,
    all: &[&'a MemberView],
    folded: &HashSet<u32>,
    found: &mut Vec<Branch<'a>>,
) {
    // Numbers are read while others change them: a circle ends here.
    if depth > all.len() {
        return;
    }
    let at = found.len();
    found.push(Branch {
        member,
        depth,
        folded: 0,
    });
    for child in all
        .iter()
        .filter(|other| other.parent == Some(member.pid) && other.pid != member.pid)
    {
        add(child, depth + 1, all, folded, found);
    }
    if folded.contains(&member.pid) {
        found[at].folded = found.len() - at - 1;
        found.truncate(at + 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn member(pid: u32, parent: Option<u32>, name: &str, age: u64) -> MemberView {
        MemberView {
            pid,
            parent,
            name: name.into(),
            state: "running",
            waits_for: None,
            holder: None,
            is_daemon: false,
            is_spare: false,
            is_booted: true,
            threads: 1,
            cpu: Duration::ZERO,
            resident: u64::from(pid),
            age: Duration::from_secs(age),
        }
    }

    fn shown(members: &[MemberView], order: Order, folded: &[u32]) -> Vec<(u32, usize, usize)> {
        let folded = folded.iter().copied().collect();
        branches(members, order, &folded)
            .iter()
            .map(|branch| (branch.member.pid, branch.depth, branch.folded))
            .collect()
    }

    #[test]
    fn each_process_stands_behind_its_parent() {
        let members = [
            member(10, None, "main", 9),
            member(11, Some(10), "b", 8),
            member(12, Some(10), "a", 7),
            member(13, Some(11), "c", 6),
            member(14, Some(99), "orphan", 5),
        ];
        let by_age = [(10, 0, 0), (11, 1, 0), (13, 2, 0), (12, 1, 0), (14, 0, 0)];
        assert_eq!(shown(&members, Order::Age, &[]), by_age);
        let by_name = [(10, 0, 0), (12, 1, 0), (11, 1, 0), (13, 2, 0), (14, 0, 0)];
        assert_eq!(shown(&members, Order::Name, &[]), by_name);
        let folded = [(10, 0, 3), (14, 0, 0)];
        assert_eq!(shown(&members, Order::Age, &[10]), folded);
    }
}
