//! Where the master is asked: bound like any other added socket, before a reload changes anything, and moved with it.

use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;

use rustcorn_sys::error::without_number;
use rustcorn_sys::held_socket::HeldSocket;

/// For those who come while the master is busy with something else.
const BACKLOG: u32 = 64;

/// The socket at `path`: the `present` one if it is there, else a new one. The error is a sentence.
pub(crate) fn bind(path: &Path, mode: u32, present: Option<&Rc<HeldSocket>>) -> Result<Rc<HeldSocket>, String> {
    let absolute = std::path::absolute(path).ok();
    if let Some(present) = present.filter(|present| absolute.as_deref() == Some(present.path())) {
        return Ok(Rc::clone(present));
    }
    HeldSocket::bind(path, mode, BACKLOG).map(Rc::new).map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::AddrInUse => "is another server running? Stop it, or choose another path with",
            _ => "check the directory and its permissions, or choose another path with",
        };
        let path = path.display();
        format!("cannot listen on the control socket {path}: {}; {advice} --control-socket", without_number(&error))
    })
}
