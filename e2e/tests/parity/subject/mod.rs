//! The server under test: which one it is, how it is set up, and what can be asked of either.

mod line;
mod server;
mod setup;

pub(crate) use Who::{Gunicorn, Rustcorn};
pub(crate) use line::Line;
pub(crate) use server::{Server, processes_in};
pub(crate) use setup::{Setup, gunicorn};

/// One of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    Rustcorn,
    Gunicorn,
}

/// Which of the two is under test.
pub(crate) fn who() -> Who {
    match std::env::var("SERVER_UNDER_TEST").as_deref() {
        Err(_) | Ok("" | "rustcorn") => Rustcorn,
        Ok("gunicorn") => Gunicorn,
        Ok(other) => panic!("SERVER_UNDER_TEST={other}: it is rustcorn or gunicorn"),
    }
}

/// Here the two are meant to differ: the caller asserts what each of them does. `id` is a line of `docs/differences.md`, which says
/// why (the module `list` checks that).
pub(crate) fn differs(id: &str) -> Who {
    assert!(!id.is_empty());
    who()
}
