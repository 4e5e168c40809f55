//! Layers of values: each one may set any setting, the last one wins, and mistakes of all of them are collected.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::app::AppSpec;
use crate::cli;
use crate::connection_rule::tls_together;
use crate::foreign;
use crate::input::Input;
use crate::problem::{Origin, Problem};
use crate::profile::Profile;
use crate::setting::Setting;
use crate::settings::{SETTINGS, Settings};

/// Holds more flags, split as a shell would.
pub(crate) const CMD_ARGS: &str = "RUSTCORN_CMD_ARGS";

/// Where a setting's value came from, and whether it was `auto`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Trace {
    pub(crate) origin: Origin,
    pub(crate) auto: bool,
}

/// The settings so far.
pub(crate) struct Layers {
    pub(crate) settings: Settings,
    pub(crate) app: Option<AppSpec>,
    pub(crate) traces: BTreeMap<&'static str, Trace>,
    pub(crate) problems: Vec<Problem>,
}

impl Layers {
    /// The lowest layers: the defaults, and those of a profile.
    pub(crate) fn new(profile: Option<&'static Profile>) -> Self {
        let trace = |setting: &'static Setting| {
            (setting.key, Trace { origin: Origin::Default, auto: setting.default == "auto" })
        };
        let mut layers = Self {
            settings: Settings::defaults(),
            app: None,
            traces: SETTINGS.iter().map(trace).collect(),
            problems: Vec::new(),
        };
        for (key, value) in profile.iter().flat_map(|profile| profile.values) {
            let setting = Setting::find(key).expect("a test looks every one up");
            let origin = Origin::Profile(profile.map_or("", |profile| profile.name).to_owned());
            layers.set_or_note(setting, &Input::Untyped((*value).to_owned()), origin);
        }
        layers
    }

    /// Sets one setting; the error is what is wrong with the value.
    pub(crate) fn set(&mut self, setting: &Setting, input: &Input, origin: Origin) -> Result<(), String> {
        (setting.set)(&mut self.settings, input)?;
        let auto = input.text().is_some_and(|text| text.eq_ignore_ascii_case("auto"));
        self.traces.insert(setting.key, Trace { origin, auto });
        Ok(())
    }

    /// As [`Layers::set`], with the error noted under the value's origin.
    pub(crate) fn set_or_note(&mut self, setting: &Setting, input: &Input, origin: Origin) {
        if let Err(text) = self.set(setting, input, origin.clone()) {
            self.problems.push(Problem::new(origin, setting.key, &text));
        }
    }

    /// The environment: a variable of another platform, above it `RUSTCORN_<KEY>`, above all of them `RUSTCORN_CMD_ARGS`.
    ///
    /// A `RUSTCORN_` variable that is no setting is passed over: for a service named rustcorn, Kubernetes puts
    /// `RUSTCORN_PORT=tcp://10.0.0.1:80`, `RUSTCORN_SERVICE_HOST` and their like into every pod.
    pub(crate) fn environment(&mut self, environment: &BTreeMap<String, OsString>) {
        for setting in SETTINGS {
            if let Some(fallback) = setting.fallback {
                self.variable(setting, environment, fallback.variable, fallback.convert);
            }
            self.variable(setting, environment, &setting.variable(), |text| Ok(Some(text.to_owned())));
        }
        if let Some(value) = environment.get(CMD_ARGS) {
            self.command_args(value);
        }
    }

    fn variable(
        &mut self,
        setting: &Setting,
        environment: &BTreeMap<String, OsString>,
        variable: &str,
        convert: fn(&str) -> Result<Option<String>, String>,
    ) {
        let Some(value) = environment.get(variable) else { return };
        let origin = Origin::Environment { variable: variable.to_owned(), flag: None };
        match value.to_str().ok_or_else(|| "not UTF-8 text".to_owned()).and_then(convert) {
            Ok(Some(text)) => self.set_or_note(setting, &Input::Untyped(text), origin),
            Ok(None) => {}
            Err(text) => self.problems.push(Problem::new(origin, setting.key, &text)),
        }
    }

    fn command_args(&mut self, value: &OsString) {
        let origin = |flag| Origin::Environment { variable: CMD_ARGS.to_owned(), flag };
        let words = value.to_str().ok_or("not UTF-8 text").and_then(|text| {
            shlex::split(text).ok_or("a quote is not closed, or a backslash ends it; write it as for a shell")
        });
        let given = match words {
            Ok(words) => cli::parse_variable(words),
            Err(text) => Err(text.to_owned()),
        };
        match given {
            Ok(given) => self.flags(&given, |flag| origin(Some(flag))),
            Err(text) => self.problems.push(Problem::new(origin(None), "", &text)),
        }
    }

    /// What is wrong with values that are good one by one.
    pub(crate) fn together(&mut self) {
        let Settings { bind, workers, admin_bind, min_ready_workers, .. } = &self.settings;
        let mut blame = |key: &'static str, text: String| {
            let origin = self.traces.get(key).map(|trace| trace.origin.clone()).unwrap_or_default();
            self.problems.push(Problem::new(origin, key, &text));
        };
        if let Some(admin) = admin_bind.as_ref().filter(|admin| !admin.is_any_port() && bind.contains(admin)) {
            let admin = admin.to_setting();
            blame("admin_bind", format!("{admin} is in bind, too; use an address of its own"));
        }
        if min_ready_workers > workers {
            let text = format!(
                "{min_ready_workers} workers cannot be ready where workers is {workers}; use at most {workers}"
            );
            blame("min_ready_workers", text);
        }
        if let Some((key, text)) = tls_together(&self.settings) {
            blame(key, text);
        }
        if let Some(AppSpec::Foreign { .. }) = self.app {
            foreign::not_kept(&self.settings).for_each(|(key, text)| blame(key, text.to_owned()));
            self.problems.extend(foreign::unread(&self.settings.app));
        }
    }

    /// A command line.
    pub(crate) fn flags(&mut self, given: &[cli::Given], origin: impl Fn(String) -> Origin) {
        for (setting, input) in given {
            self.set_or_note(setting, input, origin(format!("--{}", setting.spellings().long)));
        }
    }
}
