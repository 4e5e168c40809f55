//! Running in the background (`daemon`): decided before anything is opened, and before there can be a thread.

use std::rc::Rc;

use rustcorn_config::Invocation;
use rustcorn_sys::daemon::{Detached, Role, detach};
use rustcorn_sys::error::without_number;

use crate::heritage::is_heir;
use crate::os_world::Refusal;

/// What becomes of the process that was called.
pub(crate) enum Part {
    /// It has only waited for the daemon's start, and leaves with this code.
    Caller(u8),
    /// It is the master, in the background or not.
    Master(Option<Rc<Detached>>),
}

/// Reads the configuration once for this one question: a mistake in it is told before anything is detached.
pub(crate) fn detach_if_asked(invocation: &Invocation) -> Result<Part, Refusal> {
    // One that takes over from another is where that is. A mistake in its configuration is for its parent, too, which is told
    // later.
    if is_heir() || !invocation.load()?.settings.daemon {
        return Ok(Part::Master(None));
    }
    let role = detach().map_err(|error| format!("cannot go to the background: {}", without_number(&error)))?;
    match role {
        Role::Caller(Some(code)) => Ok(Part::Caller(code)),
        Role::Caller(None) => {
            Err("the server in the background ended before it served; start it without daemon to see why".into())
        }
        Role::Daemon(detached) => Ok(Part::Master(Some(Rc::new(detached)))),
    }
}
