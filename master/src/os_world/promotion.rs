//! What is one master's alone: the pidfile, and the files of its sockets. While there are two, the older one has them.

use std::ffi::OsStr;
use std::path::Path;
use std::rc::Rc;

use rustcorn_config::Settings;
use rustcorn_sys::held_socket::HeldSocket;

use super::generation::{Resources, name_beside_parent};
use super::{OsWorld, complain};
use crate::control;
use crate::listeners::SocketFile;
use crate::notice::Notice;
use crate::pidfile::{Pidfile, PidfileError};

impl OsWorld {
    /// The files of unix sockets are removed in the end by the last master that uses them.
    pub(super) fn own_files(&mut self) {
        for listener in self.generations.values().flat_map(Resources::sockets) {
            listener.own_file(self.succession.is_alone());
        }
        if !self.succession.has_parent() {
            self.legacy.drain(..).for_each(SocketFile::remove_if_last);
        }
    }

    /// Sockets that the old master had bound are as it wanted them until it is gone.
    fn update_sockets(&self) {
        let Some(resources) = self.in_force() else { return };
        for (listener, result) in resources.set_backlog() {
            complain(result, || format!("set the backlog of {}", listener.url()));
        }
        for (listener, result) in resources.set_access() {
            complain(result, || format!("set the permissions of {}", listener.url()));
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
        self.update_sockets();
        let path = self.in_force().and_then(|resources| resources.settings.pidfile.clone());
        if let (Some(pidfile), Some(path)) = (&mut self.pidfile, path)
            && let Err(error) = pidfile.rename_to(&path)
        {
            Notice::PidfileKept { why: error.to_string() }.say();
        }
        self.take_over_control();
    }

    /// Of the generation that is being tried, too: it will be in force, and was given the name beside the old master's.
    fn take_over_control(&mut self) {
        let mut taken: Vec<Rc<HeldSocket>> = Vec::new();
        for resources in self.generations.values_mut() {
            let (Some(beside), Some(name)) = (&resources.control, control_name(&resources.settings)) else { continue };
            let path = beside.path().with_file_name(name);
            let present = taken.iter().chain([beside]).find(|control| control.path() == path);
            match control::socket::bind(&path, resources.settings.control_socket_mode, present) {
                Ok(control) => {
                    taken.push(Rc::clone(&control));
                    resources.control = Some(control);
                }
                Err(error) => Notice::SystemTrouble { what: "take over the control socket".to_owned(), error }.say(),
            }
        }
        self.in_force().into_iter().for_each(Resources::say_control);
    }
}

fn control_name(settings: &Settings) -> Option<&OsStr> {
    settings.control_socket.as_ref()?.file_name()
}

/// The new one is there before the old one goes. Where it cannot be written the old one stays: better than none.
fn move_pidfile(pidfile: &mut Option<Pidfile>, path: Option<&Path>) -> Result<(), PidfileError> {
    let wanted = path.and_then(|path| std::path::absolute(path).ok());
    if wanted.as_deref() != pidfile.as_ref().map(Pidfile::path) {
        *pidfile = path.map(Pidfile::create).transpose()?;
    }
    Ok(())
}
