//! Finding the files of this process's control group, version 1 or 2.

use std::fs;
use std::path::{Path, PathBuf};

/// Knows where this process's control group lies in the file system.
#[derive(Debug)]
pub(crate) struct Cgroup {
    /// Where file names start: `/`, but for tests.
    root: PathBuf,
    /// /proc/self/cgroup.
    membership: String,
    /// /proc/self/mountinfo.
    mounts: String,
}

/// Names a directory of the group, or of one that contains it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Directory {
    /// Of version 1.
    V1(PathBuf),
    /// Of version 2.
    V2(PathBuf),
}

impl Cgroup {
    /// Looks up this process's group; without /proc there is none.
    pub(crate) fn of_self() -> Self {
        Self::at(Path::new("/"))
    }

    pub(crate) fn at(root: &Path) -> Self {
        let read = |path| fs::read_to_string(root.join(path)).unwrap_or_default();
        Self {
            root: root.into(),
            membership: read("proc/self/cgroup"),
            mounts: read("proc/self/mountinfo"),
        }
    }

    /// Returns the directories in which `controller` may limit this process:
    /// its group's first, then those around it, as far as they can be seen.
    pub(crate) fn directories(&self, controller: &str) -> Vec<Directory> {
        // On a mixed system a controller is version 1's or nowhere; the line
        // of version 2 is there regardless.
        if let Some(group) = self.group(|names| names.split(',').any(|n| n == controller)) {
            let mounted = |kind: &str, options: &str| {
                kind == "cgroup" && options.split(',').any(|option| option == controller)
            };
            return self.ascend(group, mounted, Directory::V1);
        }
        match self.group(str::is_empty) {
            Some(group) => self.ascend(group, |kind, _| kind == "cgroup2", Directory::V2),
            None => Vec::new(),
        }
    }

    /// Returns this process's path in the hierarchy whose controllers fit.
    fn group(&self, fits: impl Fn(&str) -> bool) -> Option<&str> {
        self.membership.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let names = fields.next()?;
            let path = fields.next()?;
            fits(names).then_some(path)
        })
    }

    fn ascend(
        &self,
        group: &str,
        mounted: impl Fn(&str, &str) -> bool,
        version: fn(PathBuf) -> Directory,
    ) -> Vec<Directory> {
        let Some((root, point)) = self.mounts.lines().find_map(|line| mount(line, &mounted)) else {
            return Vec::new();
        };
        // In a container the path may be the host's: a path that is not below the
        // mount's root cannot be seen, and then the mount itself is our group.
        let below = Path::new(group)
            .strip_prefix(&root)
            .unwrap_or(Path::new(""));
        let below = if below.starts_with("..") {
            Path::new("")
        } else {
            below
        };
        let top = self.root.join(point.strip_prefix("/").unwrap_or(&point));
        below
            .ancestors()
            .map(|part| version(top.join(part)))
            .collect()
    }
}

/// Returns the root and the mount point of a line of mountinfo, if its type
/// and options fit (proc_pid_mountinfo(5)).
fn mount(line: &str, fits: impl Fn(&str, &str) -> bool) -> Option<(PathBuf, PathBuf)> {
    let (left, right) = line.split_once(" - ")?;
    let mut right = right.split(' ');
    let kind = right.next()?;
    let options = right.nth(1)?;
    let mut left = left.split(' ').skip(3);
    let root = unescape(left.next()?);
    let point = unescape(left.next()?);
    fits(kind, options).then(|| (root.into(), point.into()))
}

/// Undoes the kernel's octal escapes of blanks and backslashes.
fn unescape(path: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .into_iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(path.to_owned(), |path, (code, text)| {
            path.replace(code, text)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup(membership: &str, mounts: &str) -> Cgroup {
        Cgroup {
            root: "/".into(),
            membership: membership.into(),
            mounts: mounts.into(),
        }
    }

    const V2: &str =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpuacct,cpu\n\
        35 31 0:32 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    fn v2(paths: &[&str]) -> Vec<Directory> {
        paths.iter().map(|p| Directory::V2(p.into())).collect()
    }

    #[test]
    fn a_nested_group_of_version_2_is_followed_to_its_top() {
        let group = cgroup("0::/user.slice/job\n", V2);
        let expected = v2(&[
            "/sys/fs/cgroup/user.slice/job",
            "/sys/fs/cgroup/user.slice",
            "/sys/fs/cgroup/",
        ]);
        assert_eq!(group.directories("cpu"), expected);
    }

    #[test]
    fn a_group_outside_the_namespace_is_the_mount_itself() {
        let group = cgroup("0::/../../other\n", V2);
        assert_eq!(group.directories("cpu"), v2(&["/sys/fs/cgroup/"]));
    }

    #[test]
    fn on_a_mixed_system_each_controller_is_found_where_it_is() {
        let group = cgroup("8:memory:/docker/ab/x\n1:cpu,cpuacct:/\n0::/\n", V1);
        let cpu = Directory::V1("/sys/fs/cgroup/cpu,cpuacct/".into());
        assert_eq!(group.directories("cpu"), [cpu]);
        let memory = ["/sys/fs/cgroup/memory/x", "/sys/fs/cgroup/memory/"];
        assert_eq!(
            group.directories("memory"),
            memory.map(|path| Directory::V1(path.into()))
        );
        assert_eq!(group.directories("pids"), v2(&["/sys/fs/cgroup/unified/"]));
    }

    #[test]
    fn without_proc_there_is_no_limit_to_find() {
        assert_eq!(cgroup("", "").directories("cpu"), []);
        assert_eq!(cgroup("nonsense", "more - of it").directories("cpu"), []);
    }

    #[test]
    fn escaped_blanks_in_mount_points_are_read() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
    }
}
