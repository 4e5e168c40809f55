//! When files that changed are to be served (the setting `dev`): policy without a clock and without files.
//!
//! A linker, a compiler's output or an editor touches a file several times. So what is heard only says when to look; and a change
//! counts once two looks in a row find the same, nobody is writing, and a program is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustcorn_sys::Monotonic;
use rustcorn_sys::file::FileId;
use rustcorn_sys::watch::Heard;

/// Time between two looks.
const QUIET: Duration = Duration::from_millis(100);
/// After this long an unfinished file is tried as it is: the reload then says what is wrong with it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two looks where nothing can be heard.
pub(crate) const POLL: Duration = Duration::from_secs(1);

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    pub(crate) file: FileId,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) modified: (i64, i64),
}

/// A watched file at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sight {
    /// It is not there: removed for good, or about to be put in place.
    Missing,
    There {
        stamp: Stamp,
        /// A program without its end is not.
        whole: bool,
    },
}

impl Sight {
    const fn stamp(self) -> Option<Stamp> {
        match self {
            Self::Missing => None,
            Self::There { stamp, .. } => Some(stamp),
        }
    }
}

/// All watched files at one moment. A file that was found in a directory and is gone is not in it; one that was named is, as missing.
pub(crate) type Sights = BTreeMap<PathBuf, Sight>;

/// What is served, and what was seen since.
#[derive(Debug)]
pub(crate) struct Changes {
    served: Sights,
    seen: Option<Sights>,
    /// When the change under way was first seen.
    since: Option<Monotonic>,
    writing: BTreeSet<PathBuf>,
    next_look: Option<Monotonic>,
    /// Nothing can be heard.
    deaf: bool,
}

impl Changes {
    /// Nothing has changed yet. `deaf`: not everything can be heard, so look every now and then.
    pub(crate) fn new(now: Monotonic, served: Sights, deaf: bool) -> Self {
        let next_look = deaf.then(|| now + POLL);
        Self { served, seen: None, since: None, writing: BTreeSet::new(), next_look, deaf }
    }

    /// From now on these files, of which those known already are served as they were.
    pub(crate) fn follow(&mut self, now: Monotonic, mut sights: Sights, deaf: bool) {
        for (path, sight) in &mut sights {
            if let Some(served) = self.served.get(path) {
                *sight = *served;
            }
        }
        self.served = sights;
        (self.seen, self.deaf) = (None, deaf);
        self.next_look = Some(now + QUIET); // whatever happened since they were last looked at
    }

    pub(crate) const fn next_look(&self) -> Option<Monotonic> {
        self.next_look
    }

    pub(crate) fn heard(&mut self, now: Monotonic, heard: Vec<Heard>) {
        for heard in heard {
            match heard {
                Heard::Written(path) if self.served.contains_key(&path) => drop(self.writing.insert(path)),
                // A neighbour: the server's own log, perhaps, which is never done.
                Heard::Written(_) => continue,
                Heard::Settled(path) if self.served.contains_key(&path) => drop(self.writing.remove(&path)),
                // Of a link on the way to a watched file, perhaps. A busy neighbour shall not put the look off for ever.
                Heard::Settled(_) => {
                    self.next_look.get_or_insert(now + QUIET);
                    continue;
                }
                Heard::Anything => self.writing.clear(),
            }
            self.next_look = Some(now + QUIET);
        }
    }

    /// Looks, if it is time to. The files whose change is to be served now.
    pub(crate) fn look(&mut self, now: Monotonic, sights: impl FnOnce() -> Sights) -> Vec<PathBuf> {
        if self.next_look.is_none_or(|due| now < due) {
            return Vec::new();
        }
        let sights = sights();
        let changed = self.changed(&sights);
        if changed.is_empty() {
            (self.seen, self.since) = (None, None);
            self.next_look = self.deaf.then(|| now + POLL);
            return changed;
        }
        let since = *self.since.get_or_insert(now);
        self.next_look = Some(now + QUIET);
        if self.seen.as_ref() != Some(&sights) {
            self.seen = Some(sights);
            return Vec::new();
        }
        if changed.iter().any(|path| self.is_unfinished(path, &sights)) && now < since + PATIENCE {
            return Vec::new();
        }
        // What is missing was not served as missing: it stays what it was until it is there again.
        let served = std::mem::take(&mut self.served);
        let kept = |(path, sight): (PathBuf, Sight)| {
            let old = served.get(&path).filter(|_| sight == Sight::Missing);
            let sight = old.copied().unwrap_or(sight);
            (path, sight)
        };
        self.served = sights.into_iter().map(kept).collect();
        (self.seen, self.since) = (None, None);
        self.next_look = self.deaf.then(|| now + POLL);
        changed
    }

    fn changed(&self, sights: &Sights) -> Vec<PathBuf> {
        let differs = |(path, sight): &(&PathBuf, &Sight)| {
            **sight != Sight::Missing && self.served.get(*path).copied().and_then(Sight::stamp) != sight.stamp()
        };
        let gone = self.served.keys().filter(|path| !sights.contains_key(*path));
        sights.iter().filter(differs).map(|(path, _)| path).chain(gone).cloned().collect()
    }

    fn is_unfinished(&self, path: &Path, sights: &Sights) -> bool {
        self.writing.contains(path) || matches!(sights.get(path), Some(Sight::There { whole: false, .. }))
    }
}

#[cfg(test)]
mod tests;
