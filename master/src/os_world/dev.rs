//! The setting `dev`: which files are watched, and what they look like.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustcorn_sys::Monotonic;
use rustcorn_sys::error::without_number;
use rustcorn_sys::file::FileId;
use rustcorn_sys::watch::{Watch, folders_of};

use super::OsWorld;
use super::generation::Resources;
use crate::dev::{Changes, Sight, Sights, Stamp};
use crate::fleet::Event;
use crate::notice::Notice;

/// More directories than this below one of `dev_watch` are not looked into: somebody has named the root of the world.
const MOST_FOLDERS: usize = 4096;

/// The files of one configuration that are watched, by absolute paths.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Named {
    files: BTreeSet<PathBuf>,
    /// Those of them that are executed.
    programs: BTreeSet<PathBuf>,
    /// Of `dev_watch`: directories or files, whatever they are when they are looked at.
    more: BTreeSet<PathBuf>,
}

/// Files that are watched.
#[derive(Debug)]
pub(super) struct Watching {
    watch: Option<Watch>,
    named: Named,
    folders: BTreeSet<PathBuf>,
    changes: Changes,
}

impl OsWorld {
    /// As the generation in force wants it.
    pub(super) fn watch_files(&mut self) {
        let (now, old) = (self.now(), self.watching.take());
        let config = self.invocation.place();
        self.watching = self.in_force().and_then(|resources| Watching::follow(old, now, &config, resources));
    }
}

impl Watching {
    /// Follows what the generation in force has: as before if it can be, not at all if it does not want to.
    pub(super) fn follow(old: Option<Self>, now: Monotonic, config: &Path, resources: &Resources) -> Option<Self> {
        if !resources.settings.dev {
            return None;
        }
        let named = Named::of(config, resources);
        let (sights, folders) = named.look();
        let mut watching = old.unwrap_or_else(|| {
            Notice::ReloaderOn.say();
            let watch = Watch::new().map_err(|error| cannot("watch files", &error)).ok();
            let changes = Changes::new(now, sights.clone(), watch.is_none());
            Self { watch, named: Named::default(), folders: BTreeSet::new(), changes }
        });
        if watching.named != named {
            watching.named = named;
            let deaf = watching.listen(folders);
            watching.changes.follow(now, sights, deaf);
        }
        Some(watching)
    }

    /// Listens to these directories. Whether there are some to which it cannot.
    fn listen(&mut self, folders: BTreeSet<PathBuf>) -> bool {
        self.folders = folders;
        let Some(watch) = &mut self.watch else { return true };
        let failed = watch.follow(&self.folders);
        for (folder, error) in &failed {
            cannot(&format!("watch {}", folder.display()), error);
        }
        !failed.is_empty()
    }

    /// Readable when there is something to hear.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    pub(super) const fn next_look(&self) -> Option<Monotonic> {
        self.changes.next_look()
    }

    /// Hears, looks if it is time to, and says which files are to be served anew.
    pub(super) fn tend(&mut self, now: Monotonic) -> Option<Event> {
        match self.watch.as_ref().map(Watch::heard) {
            Some(Ok(heard)) => self.changes.heard(now, heard),
            Some(Err(error)) => {
                cannot("hear of changed files", &error);
                self.watch = None;
                self.changes.follow(now, self.named.look().0, true);
            }
            None => {}
        }
        let mut found = None;
        let changed = self.changes.look(now, || {
            let (sights, folders) = self.named.look();
            found = Some(folders);
            sights
        });
        // Directories come and go. Those that cannot be heard were told when they came.
        if let Some(folders) = found.filter(|folders| *folders != self.folders) {
            self.listen(folders);
        }
        (!changed.is_empty()).then_some(Event::FilesChanged(changed))
    }
}

impl Named {
    fn of(config: &Path, resources: &Resources) -> Self {
        // A path that cannot be made absolute is empty, or the working directory is gone: nothing to watch there.
        let absolute = |path: &Path| std::path::absolute(path).ok();
        let programs: BTreeSet<PathBuf> = resources.file.iter().filter_map(|path| absolute(path)).collect();
        let files = programs.iter().cloned().chain(absolute(config)).collect();
        let more = resources.settings.dev_watch.iter().filter_map(|path| absolute(path)).collect();
        Self { files, programs, more }
    }

    /// All files, and the directories in which something can happen to them.
    fn look(&self) -> (Sights, BTreeSet<PathBuf>) {
        let (mut sights, mut folders) = (Sights::new(), BTreeSet::new());
        for path in &self.files {
            folders.extend(folders_of(path));
            sights.insert(path.clone(), sight(path, self.programs.contains(path)));
        }
        for path in &self.more {
            folders.extend(folders_of(path));
            if path.is_dir() {
                walk(path, &mut sights, &mut folders);
            } else {
                sights.insert(path.clone(), sight(path, false));
            }
        }
        (sights, folders)
    }
}

/// Everything in a directory, but for names that begin with a dot and links to directories, which may lead in a circle.
fn walk(top: &Path, sights: &mut Sights, folders: &mut BTreeSet<PathBuf>) {
    let mut left = vec![top.to_owned()];
    let mut seen = 0;
    while let Some(folder) = left.pop().filter(|_| seen < MOST_FOLDERS) {
        seen += 1;
        // One that cannot be read is told when it cannot be watched.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            match sight(&path, false) {
                _ if entry.file_name().as_encoded_bytes().starts_with(b".") => {}
                _ if is_folder => left.push(path),
                Sight::Missing => {} // gone since it was listed
                _ if path.is_dir() => {}
                sight => drop(sights.insert(path, sight)),
            }
        }
        folders.insert(folder);
    }
}

fn sight(path: &Path, is_program: bool) -> Sight {
    let Ok(metadata) = fs::metadata(path) else { return Sight::Missing };
    let stamp = Stamp {
        file: FileId::from(&metadata),
        size: metadata.size(),
        mode: metadata.mode(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    };
    Sight::There { stamp, whole: !is_program || is_whole(path, &metadata) }
}

/// Whether a program may be executed and has its end: a linker reserves the place of the sections' table (elf(5)) first, and
/// `cp` has not come to it yet. What is no ELF file has no end to look for.
fn is_whole(path: &Path, metadata: &fs::Metadata) -> bool {
    let mut head = [0; 64];
    let read = fs::File::open(path).and_then(|file| file.read_exact_at(&mut head, 0));
    let executable = metadata.mode() & 0o111 != 0;
    if read.is_err() || head[..6] != *b"\x7fELF\x02\x01" {
        return executable && metadata.size() > 0;
    }
    let number = |at: usize, length: usize| {
        head[at..at + length].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let (offset, size, count) = (number(0x28, 8), number(0x3a, 2), number(0x3c, 2));
    executable && offset.checked_add(size * count).is_some_and(|end| end <= metadata.size())
}

fn cannot(what: &str, error: &std::io::Error) {
    Notice::SystemTrouble { what: what.to_owned(), error: without_number(error) }.say();
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_program_is_whole_with_its_last_byte_and_the_right_to_run() {
        let program = std::env::current_exe().expect("this test has a file");
        let bytes = fs::read(&program).expect("readable");
        let copy = std::env::temp_dir().join(format!("rustcorn-whole-{}", std::process::id()));
        let whole = |length: usize, mode: u32| {
            fs::write(&copy, &bytes[..length]).expect("ours");
            fs::set_permissions(&copy, fs::Permissions::from_mode(mode)).expect("ours");
            sight(&copy, true)
        };
        assert!(matches!(whole(bytes.len(), 0o755), Sight::There { whole: true, .. }));
        for (length, mode) in [(bytes.len() - 1, 0o755), (bytes.len() / 2, 0o755), (64, 0o755), (bytes.len(), 0o644)] {
            assert!(matches!(whole(length, mode), Sight::There { whole: false, .. }), "{length} {mode:o}");
        }
        fs::write(&copy, "#!/bin/sh\n").expect("ours");
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("ours");
        assert!(matches!(sight(&copy, true), Sight::There { whole: true, .. }));
        fs::remove_file(&copy).expect("ours");
        assert_eq!(sight(&copy, true), Sight::Missing);
    }

    #[test]
    fn a_directory_is_everything_in_it_but_what_is_hidden() {
        let top = std::env::temp_dir().join(format!("rustcorn-walk-{}", std::process::id()));
        fs::create_dir_all(top.join("deep/.git")).expect("a free name");
        for file in ["a", ".b", "deep/c", "deep/.git/d"] {
            fs::write(top.join(file), "x").expect("ours");
        }
        std::os::unix::fs::symlink(&top, top.join("deep/circle")).expect("ours");
        let (sights, folders) = Named { more: [top.clone()].into(), ..Named::default() }.look();
        assert!(folders.contains(&top) && folders.contains(&top.join("deep")), "{folders:?}");
        assert!(!folders.contains(&top.join("deep/.git")), "{folders:?}");
        let names: Vec<PathBuf> = ["a", "deep/c"].iter().map(|name| top.join(name)).collect();
        assert_eq!(sights.into_keys().collect::<Vec<_>>(), names);
        fs::remove_dir_all(&top).expect("ours");
    }
}
