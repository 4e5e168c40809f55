//! A reload takes effect: what the master itself does differently from now on.

use rustcorn_config::Apply;
use rustcorn_sys::log::{self, syslog};

use super::{OsWorld, admin, complain};
use crate::fleet::Generation;
use crate::notice::Notice;

impl OsWorld {
    pub(super) fn commit(&mut self, generation: Generation) {
        let old = self.generations.remove(&self.in_force);
        self.in_force = generation;
        let (Some(old), Some(new)) = (old, self.generations.get(&generation)) else { return };
        let changes = old.settings.changes(&new.settings);
        let access_logs = old.access_log.as_ref().zip(new.access_log.as_ref());
        let log_moved = old.log.differs(&new.log) || access_logs.is_some_and(|(old, new)| old.differs(new));
        log::set_format(new.settings.log_format);
        for change in &changes {
            Notice::SettingChanged { change: change.to_string(), later: change.apply == Apply::Restart }.say();
        }
        let changed = |keys: &[&str]| changes.iter().any(|change| keys.contains(&change.key.as_str()));
        if old.urls() != new.urls() {
            Notice::Listening { addresses: new.urls() }.say();
        }
        new.say_certificate(Some(&old));
        if changed(&["backlog"]) {
            for (listener, result) in new.set_backlog() {
                complain(result, || format!("set the backlog of {}", listener.url()));
            }
        }
        if changed(&["control_socket"]) {
            new.say_control();
        }
        if changed(&["control_socket_mode"])
            && let Some(control) = &new.control
        {
            complain(control.set_mode(new.settings.control_socket_mode), || {
                format!("set the mode of {}", control.path().display())
            });
        }
        log::set_level(new.settings.loglevel);
        if old.settings.syslog_plan() != new.settings.syslog_plan() {
            syslog::set(new.settings.syslog_plan());
        }
        if let Some(directory) = &new.directory {
            complain(directory.enter(), || "enter the directory of chdir".to_owned());
        }
        if changed(&["socket_mode", "umask", "user", "group"]) {
            for (listener, result) in new.set_access() {
                complain(result, || format!("set the permissions of {}", listener.url()));
            }
        }
        if let Some(title) = &self.title {
            title.set(&format!("rustcorn: master [{}]", new.title()));
        }
        if !admin::is_same(&old, new) {
            if changed(&["admin_bind"]) {
                new.say_admin();
            }
            self.want_admin();
        }
        if changed(&["statsd_host", "statsd_prefix", "dogstatsd_tags", "statsd_interval"]) {
            self.finish_metrics(); // what was counted so far goes where it was configured to go
            self.start_metrics();
        }
        if log_moved {
            self.use_log(); // what changed was still said in the old one
        }
        self.update_pidfile(); // after the directory, since it may be relative
        self.watch_files(); // as above
        // Sockets that only the old generation used are closed with it; its workers take what is queued there and leave.
    }
}
