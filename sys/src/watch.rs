//! Hearing that something happened to the files of some directories (inotify(7)), without a thread.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// Readable when there is something to hear.
#[derive(Debug)]
pub struct Watch {
    inotify: Inotify,
    folders: BTreeMap<PathBuf, WatchDescriptor>,
}

/// What was heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Somebody writes into this file, and has not closed it.
    Written(PathBuf),
    /// Somebody is done with this file: it was written and closed, or renamed, created, removed.
    Settled(PathBuf),
    /// So much happened that nobody knows what.
    Anything,
}

const EVENTS: AddWatchFlags = AddWatchFlags::IN_MODIFY
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_CREATE) // a link too, which is how cargo puts a program in its place
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVE)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { inotify, folders: BTreeMap::new() })
    }

    /// Watches the files directly in these directories, and those of no others. Names those that cannot be watched.
    pub fn follow(&mut self, folders: &BTreeSet<PathBuf>) -> Vec<(PathBuf, io::Error)> {
        let mut failed = Vec::new();
        let mut followed = BTreeMap::new();
        for folder in folders {
            // Asked again also for a known one: the name may lead to another directory now.
            match self.inotify.add_watch(folder, EVENTS) {
                Ok(watch) => drop(followed.insert(folder.clone(), watch)),
                Err(errno) => failed.push((folder.clone(), errno.into())),
            }
        }
        for watch in self.folders.values().filter(|watch| !followed.values().any(|kept| kept == *watch)) {
            // The kernel has removed it by itself if its directory is gone.
            let _ = self.inotify.rm_watch(*watch);
        }
        self.folders = followed;
        failed
    }

    /// What happened since the last time this was asked. Never waits.
    pub fn heard(&self) -> io::Result<Vec<Heard>> {
        let mut heard = Vec::new();
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return Ok(heard),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            for event in events {
                let Some(name) = &event.name else {
                    heard.push(Heard::Anything); // the directory itself, an overflow of the queue, the end of a watch
                    continue;
                };
                let said = if event.mask == AddWatchFlags::IN_MODIFY { Heard::Written } else { Heard::Settled };
                // A directory that goes by two names has one watch.
                let folders = self.folders.iter().filter(|(_, watch)| **watch == event.wd);
                heard.extend(folders.map(|(folder, _)| said(folder.join(name))));
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// The directories in which something has to be watched to hear of `file`: the one it is named in, and the one it really is in.
#[must_use]
pub fn folders_of(file: &Path) -> BTreeSet<PathBuf> {
    let real = file.canonicalize().ok();
    [Some(file), real.as_deref()].into_iter().flatten().filter_map(|path| path.parent()).map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::time::Duration;

    use super::*;
    use crate::fd::wait_readable;

    #[test]
    fn each_way_to_change_a_file_is_heard() {
        let dir = std::env::temp_dir().join(format!("rustcorn-watch-{}", std::process::id()));
        let other = dir.join("other");
        fs::create_dir_all(&other).expect("a free name");
        let mut watch = Watch::new().expect("inotify");
        let missing = dir.join("missing");
        let failed = watch.follow(&[dir.clone(), missing.clone()].into());
        assert_eq!(failed.iter().map(|(path, _)| path).collect::<Vec<_>>(), [&missing]);
        assert_eq!(watch.heard().expect("readable"), []);

        let (file, link) = (dir.join("file"), dir.join("link"));
        let heard = |watch: &Watch| {
            wait_readable(&[watch.as_fd()], Some(Duration::from_secs(5))).expect("it waits");
            watch.heard().expect("readable")
        };
        let mut open = fs::File::create(&file).expect("ours");
        assert_eq!(heard(&watch), [Heard::Settled(file.clone())]);
        open.write_all(b"x").expect("written");
        assert_eq!(heard(&watch), [Heard::Written(file.clone())]);
        drop(open);
        assert_eq!(heard(&watch), [Heard::Settled(file.clone())]);
        fs::hard_link(&file, &link).expect("ours");
        assert!(heard(&watch).contains(&Heard::Settled(link.clone())));
        fs::rename(&link, &file).expect("ours"); // two links to one file: nothing happens, says rename(2)
        fs::remove_file(&link).expect("ours");
        assert!(heard(&watch).contains(&Heard::Settled(link)));
        fs::write(other.join("file"), "x").expect("ours");
        assert_eq!(watch.heard().expect("readable"), [], "not in a folder below");

        assert!(watch.follow(&[other].into()).is_empty());
        drop(watch.heard());
        fs::write(&file, "y").expect("ours");
        assert_eq!(watch.heard().expect("readable"), [], "not watched any more");
        fs::remove_dir_all(&dir).expect("ours");
        assert!(heard(&watch).contains(&Heard::Anything));
    }

    #[test]
    fn a_link_is_watched_at_both_ends() {
        let dir = std::env::temp_dir().join(format!("rustcorn-ends-{}", std::process::id()));
        fs::create_dir_all(dir.join("real")).expect("a free name");
        fs::write(dir.join("real/file"), "x").expect("ours");
        std::os::unix::fs::symlink("real/file", dir.join("link")).expect("ours");
        let real = dir.canonicalize().expect("there").join("real");
        assert_eq!(folders_of(&dir.join("link")), [dir.clone(), real].into());
        fs::remove_dir_all(&dir).expect("ours");
    }
}
