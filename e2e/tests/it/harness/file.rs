//! A log that is a file, and what may become of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::wait::{PATIENCE, eventually};
use super::{Server, proc};

/// The file behind `errorlog`.
pub(crate) struct LogFile(PathBuf);

impl LogFile {
    pub(crate) fn of(server: &Server, name: &str) -> Self {
        Self(server.dir().join(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Whole lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    }

    pub(crate) fn count(&self, pattern: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(pattern)).count()
    }

    /// Waits for the `number`th line that contains `pattern`.
    #[track_caller]
    pub(crate) fn wait(&self, pattern: &str, number: usize) -> String {
        eventually(&format!("{number} times {pattern:?} in {}", self.0.display()), PATIENCE, || {
            self.lines().into_iter().filter(|line| line.contains(pattern)).nth(number - 1)
        })
    }

    /// As logrotate begins: the file has another name, which is returned.
    pub(crate) fn rotate(&self, number: usize) -> Self {
        let to = PathBuf::from(format!("{}.{number}", self.0.display()));
        std::fs::rename(&self.0, &to).expect("the file is there");
        Self(to)
    }

    /// Waits until standard error of every one of these processes is this file; those that are gone write nothing.
    #[track_caller]
    pub(crate) fn wait_for_all(&self, pids: &BTreeSet<u32>) {
        eventually(&format!("{pids:?} write to {}", self.0.display()), PATIENCE, || {
            let there = |pid: u32| proc::file(pid, 2).as_deref() == Some(&self.0) || !proc::lives(pid);
            pids.iter().all(|pid| there(*pid)).then_some(())
        });
    }
}
