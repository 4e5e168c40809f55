//! Panics of the application: one that is caught at the border to it is told with the request it happened in, any other as it
//! happens.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use opentelemetry::Context;
use rustcorn_sys::log::Panic;

use crate::log::trace_fields;

thread_local! {
    /// Who called knows what to say about a panic.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
    /// The panic that is on its way to the caller.
    static SEEN: Cell<Option<Box<Panic>>> = const { Cell::new(None) };
}

/// From now on panics of this process are lines of its log. An application that wants its own hook sets it later, while it is
/// built.
pub(crate) fn say_panics() {
    std::panic::set_hook(Box::new(|info| seen(Panic::of(info))));
}

fn seen(panic: Panic) {
    // Without unwinding nobody catches it: this is the last chance to say anything. And not where the thread itself ends.
    let expected = cfg!(panic = "unwind") && EXPECTED.try_with(Cell::get).unwrap_or(false);
    let before = SEEN.try_with(Cell::take).ok();
    match before {
        Some(None) if expected => SEEN.set(Some(Box::new(panic))),
        before => {
            // A second one while the first unwinds ends the process.
            if let Some(Some(first)) = before {
                say(&first);
            }
            say(&panic);
        }
    }
}

#[cold]
fn say(panic: &Panic) {
    panic.say(Context::map_current(trace_fields));
}

/// Runs code of the application. Its panic is the error; the caller says it.
///
/// Unwind safety is the caller's business: nothing that `code` was in the middle of may be used again.
#[inline(always)] // as Ticket::open
pub(crate) fn contained<T>(code: impl FnOnce() -> T) -> Result<T, Box<Panic>> {
    let outer = EXPECTED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(code));
    EXPECTED.set(outer);
    let seen = SEEN.take();
    match result {
        Ok(value) => {
            if let Some(panic) = seen {
                say(&panic); // the application caught it, which no operator would have heard of
            }
            Ok(value)
        }
        Err(payload) => Err(seen.unwrap_or_else(|| Box::new(Panic::from_payload(&*payload)))),
    }
}

#[cfg(test)]
mod tests;
