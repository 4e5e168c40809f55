//! What is one master's alone: the pidfile, and the files of its sockets. While there are two, the older one has them.

use std::path::Path;

use super::OsWorld;
use super::generation::{Resources, name_beside_parent};
use crate::control;
use crate::notice::Notice;
use crate::pidfile::{Pidfile, PidfileError};

impl OsWorld {
    /// The files of unix sockets are removed in the end by the last master that uses them.
    pub(super) fn own_files(&self) {
        for listener in self.generations.values().flat_map(Resources::sockets) {
            listener.own_file(self.succession.is_alone());
        }
    }

    /// The pidfile is where the settings in force say, or beside it while an older master has the name.
    pub(super) fn update_pidfile(&mut self) {
        let has_parent = self.succession.has_parent();
        let path = self.in_force().and_then(|resources| resources.settings.pidfile.as_deref());
        let path = name_beside_parent(path, has_parent);
        if let Err(error) = move_pidfile(&mut self.pidfile, path.as_deref()) {
            Notice::PidfileKept { why: error.to_string() }.say();
        }
    }

    /// The old master is gone, and so is its hold on the name.
    pub(super) fn promote(&mut self) {
        self.own_files();
        let path = self.in_force().and_then(|resources| resources.settings.pidfile.clone());
        if let (Some(pidfile), Some(path)) = (&mut self.pidfile, path)
            && let Err(error) = pidfile.rename_to(&path)
        {
            Notice::PidfileKept { why: error.to_string() }.say();
        }
        if let Some(resources) = self.generations.get_mut(&self.in_force)
            && let Some(path) = &resources.settings.control_socket
        {
            match control::socket::bind(path, resources.settings.control_socket_mode, None) {
                Ok(control) => resources.control = Some(control),
                Err(error) => Notice::SystemTrouble { what: "take over the control socket".to_owned(), error }.say(),
            }
        }
    }
}

/// The new one is there before the old one goes. Where it cannot be written the old one stays: better than none.
fn move_pidfile(pidfile: &mut Option<Pidfile>, path: Option<&Path>) -> Result<(), PidfileError> {
    let wanted = path.and_then(|path| std::path::absolute(path).ok());
    if wanted.as_deref() != pidfile.as_ref().map(Pidfile::path) {
        *pidfile = path.map(Pidfile::create).transpose()?;
    }
    Ok(())
}
