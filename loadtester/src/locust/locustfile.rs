//! A locustfile for the master, made of a scenario: its classes and weights as Locust's, and its text, so that a worker can fetch it from
//! there. And back.

use std::fmt::Write as _;

use super::wire::Source;
use crate::problem::{Problem, Problems};
use crate::scenario::{Class, Scenario};

const BEGIN: &str = "# --- scenario ";
const END: &str = "# --- end of scenario";
const LINE: &str = "#|";

const HEAD: &str = r#"from locust import User as _User, events as _events, task as _task
from locust.runners import MasterRunner as _MasterRunner


@_events.init.add_listener
def _only_a_master(environment, **_):
    if not isinstance(environment.runner, _MasterRunner):
        raise SystemExit("this locustfile is for a master: locust --master -f FILE; the load comes from rustcorn-loadtester worker")


class _Rustcorn(_User):
    abstract = True

    @_task
    def _by_rustcorn_loadtester(self):
        pass
"#;

/// Python's reserved words (3.13): no class can be called so.
const RESERVED: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// The locustfile of `scenario`, whose text in the file called `name` is `text`.
pub fn generate(name: &str, text: &str, scenario: &Scenario) -> Result<String, Problems> {
    let bad: Vec<_> = scenario.classes.iter().filter(|class| !is_python_name(&class.name)).map(bad_name).collect();
    if !bad.is_empty() {
        return Err(Problems(bad));
    }
    let mut file =
        format!("# Made by rustcorn-loadtester locustfile of {}. Change the scenario instead.\n{HEAD}", one_line(name));
    for class in &scenario.classes {
        let host = class.host.as_ref().map(|host| format!("    host = \"{host}\"\n")).unwrap_or_default();
        let _ = write!(file, "\n\nclass {}(_Rustcorn):\n    weight = {}\n{host}", class.name, class.weight); // to memory: cannot fail
    }
    let _ = write!(file, "\n\n{BEGIN}{}\n", one_line(name)); // as above
    for line in text.lines() {
        file.extend([LINE, line, "\n"]);
    }
    file.extend([END, "\n"]);
    Ok(file)
}

fn is_python_name(name: &str) -> bool {
    // Names that begin with _ are Python's private ones, and this file's.
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !RESERVED.contains(&name)
}

fn bad_name(class: &Class) -> Problem {
    Problem::general(format!(
        "class {:?} cannot be a class of a locustfile; use a name of letters, digits and _ that begins with a letter and is no word of Python's",
        class.name
    ))
}

fn one_line(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The scenario's name and text in a master's locustfiles, or why there is none.
pub fn extract(sources: &[Source]) -> Result<(String, String), String> {
    let texts = sources.iter().filter_map(|source| match source {
        Source::Text { contents, .. } => Some(contents.as_str()),
        Source::Url(_) => None,
    });
    let mut found: Vec<_> = texts.filter_map(embedded).collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => one,
        (Some(_), false) => Err("the master has several locustfiles with a scenario; give it one of them".into()),
        (None, _) => Err("there is none in the master's locustfile; start the master with the output of `rustcorn-loadtester locustfile \
                          SCENARIO.TOML`, or give this worker the scenario's file"
            .into()),
    }
}

fn embedded(contents: &str) -> Option<Result<(String, String), String>> {
    let mut lines = contents.lines().skip_while(|line| !line.starts_with(BEGIN));
    let name = lines.next()?.strip_prefix(BEGIN)?.to_owned();
    let mut text = String::new();
    for line in lines {
        if line == END {
            return Some(Ok((name, text)));
        }
        let Some(line) = line.strip_prefix(LINE) else {
            return Some(Err(format!(
                "the scenario in the master's locustfile was changed by hand: a line is {line:?} and does not begin with {LINE:?}"
            )));
        };
        text.extend([line, "\n"]);
    }
    Some(Err("the scenario in the master's locustfile has no end".into()))
}

#[cfg(test)]
#[path = "locustfile_tests.rs"]
mod tests;
