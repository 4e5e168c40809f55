//! Without the feature `tracing` nobody listens to it, and nothing of it is linked.

/// Hears nothing.
pub(crate) struct Stream;

impl Stream {
    pub(crate) const fn open(_speaks: bool) -> Self {
        Self
    }

    pub(crate) const fn silent() -> Self {
        Self
    }

    pub(crate) fn hears<T>(&self, code: impl FnOnce() -> T) -> T {
        code()
    }

    pub(crate) const fn publish(&self) {}
}
