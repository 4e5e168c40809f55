//! Process ids that cannot be `0` or `-1`.

use std::fmt;
use std::num::NonZeroI32;

/// The id of one process. It is never 0 (own process group) nor negative (groups, everyone), so a signal sent through it
/// reaches at most one process (kill(2)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pid(NonZeroI32);

impl Pid {
    /// This process.
    #[must_use]
    pub fn this() -> Self {
        Self::from_raw(nix::unistd::getpid().as_raw()).expect("the kernel gives out positive process ids")
    }

    /// `None` unless `raw` can be the id of a single process.
    #[must_use]
    pub fn from_raw(raw: i32) -> Option<Self> {
        NonZeroI32::new(raw).filter(|raw| raw.get() > 0).map(Self)
    }

    /// The number, for logs and shared memory.
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0.get()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
