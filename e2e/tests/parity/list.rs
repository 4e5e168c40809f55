//! docs/differences.md is complete and true: its lines are the differences that the scenarios test, and all settings of gunicorn are
//! either rustcorn's, too, or in its table.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::harness::binaries;
use crate::subject::{Gunicorn, Setup, who};

/// gunicorn's settings that this version of rustcorn does not have yet, and will have.
const COMING: &[&str] = &[];

fn page() -> String {
    fs::read_to_string(binaries::workspace().join("docs/differences.md")).expect("it is there")
}

/// What stands between backquotes in the first cells of the table rows of a part of the page.
fn rows(part: &str) -> Vec<String> {
    let cells = part.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
    cells
        .flat_map(|cell| cell.split('`').step_by(2))
        .filter(|name| name.starts_with(char::is_alphanumeric))
        .map(str::to_owned)
        .collect()
}

/// The page's two parts: differences, settings.
fn parts() -> (Vec<String>, Vec<String>) {
    let page = page();
    let (differences, settings) = page.split_once("\n## Settings that are not there").expect("the page has that part");
    (rows(differences), rows(settings))
}

fn as_set(names: &[String]) -> BTreeSet<String> {
    let set: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(set.len(), names.len(), "each once: {names:?}");
    set
}

/// All ids that scenarios give to `differs`.
fn tested() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity");
    let files = fs::read_dir(folder).expect("it is there").filter_map(Result::ok).map(|entry| entry.path());
    let mut ids = BTreeSet::new();
    for file in files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let text = fs::read_to_string(&file).expect("text");
        let calls = text.split(concat!("differs", "(")).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
        ids.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
    }
    ids
}

#[test]
fn each_difference_is_a_line_of_the_page_and_each_line_is_tested() {
    let (written, tested) = (as_set(&parts().0), tested());
    assert!(tested.len() > 30, "{tested:?}");
    let untold: Vec<_> = tested.difference(&written).collect();
    let untested: Vec<_> = written.difference(&tested).collect();
    assert!(untold.is_empty() && untested.is_empty(), "no line for {untold:?}; no scenario for {untested:?}");
}

fn keys(printed: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(printed).into_owned();
    let top = text.split("\n[app]").next().unwrap_or_default();
    top.lines().filter_map(|line| Some(line.split_once('=')?.0.trim().trim_start_matches("# ").to_owned())).collect()
}

/// rustcorn's own settings, whichever server is under test.
fn settings() -> BTreeSet<String> {
    let page = fs::read_to_string(binaries::workspace().join("docs/settings.md")).expect("it is there");
    page.lines().filter_map(|line| line.strip_prefix("## ").map(str::to_owned)).collect()
}

#[test]
fn what_is_said_to_be_missing_is_missing() {
    let there = settings();
    assert!(there.contains("workers") && there.len() > 30, "{there:?}");
    let wrong: Vec<_> = parts().1.into_iter().filter(|name| there.contains(name)).collect();
    assert!(wrong.is_empty(), "docs/differences.md says that these are not there: {wrong:?}");
    let done: Vec<_> = COMING.iter().filter(|name| there.contains(**name)).collect();
    assert!(done.is_empty(), "rustcorn has them now: take {done:?} off COMING");
}

#[test]
fn all_settings_of_gunicorn_are_known() {
    if who() != Gunicorn {
        return; // only it can say which it has
    }
    let setup = Setup::new();
    let printed = setup.run(&[&["--print-config"][..], setup.what_to_run()].concat());
    let theirs = keys(&printed.stdout);
    assert!(theirs.contains("workers") && theirs.len() > 100, "{printed:?}");
    let (ours, missing) = (settings(), as_set(&parts().1));
    let known = |name: &&String| ours.contains(*name) || missing.contains(*name) || COMING.contains(&name.as_str());
    let unknown: Vec<_> = theirs.iter().filter(|name| !known(name)).collect();
    assert!(unknown.is_empty(), "neither settings of rustcorn nor in docs/differences.md: {unknown:?}");
    let stale: Vec<_> = missing.iter().filter(|name| !theirs.contains(*name)).collect();
    assert!(stale.is_empty(), "docs/differences.md names what gunicorn does not have: {stale:?}");
}
