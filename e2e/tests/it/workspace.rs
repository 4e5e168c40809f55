//! Promises about the tree itself: what the master does not link, and habits that no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::binaries::workspace;

const LONGEST: usize = 400;

/// What a package links.
fn tree(package: &str) -> String {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "-p", package, "--edges", "normal", "--prefix", "none", "--offline"])
        .current_dir(workspace())
        .output()
        .expect("the cargo that built this test still exists");
    assert!(tree.status.success(), "{tree:?}");
    let tree = String::from_utf8(tree.stdout).expect("text");
    assert!(tree.contains("rustcorn-sys "), "{tree}");
    tree
}

#[track_caller]
fn links_none_of(package: &str, names: &[&str]) {
    let tree = tree(package);
    for name in names {
        assert!(!tree.lines().any(|line| line.split(' ').next() == Some(name)), "{name} in\n{tree}");
    }
}

#[test]
fn the_master_links_no_async_runtime_and_no_http() {
    links_none_of("rustcorn-master", &["tokio", "hyper", "http", "mio", "async-std", "smol"]);
}

#[test]
fn rustcornctl_is_light_and_those_who_use_the_library_get_no_terminal() {
    links_none_of("rustcorn-ctl", &["tokio", "hyper", "http", "opentelemetry", "rustcorn-master", "rustcorn-worker"]);
    links_none_of("rustcorn", &["ratatui", "ratatui-core", "crossterm", "rustcorn-ctl"]);
    assert!(tree("rustcorn-ctl").contains("\nratatui "));
}

#[test]
fn a_service_does_not_link_what_only_the_programs_own_handlers_need() {
    assert!(tree("rustcorn").contains("\ntower-http "));
    links_none_of("rustcorn-examples", &["tower-http"]);
}

fn members() -> Vec<PathBuf> {
    let manifest = fs::read_to_string(workspace().join("Cargo.toml")).expect("it is there");
    let line = manifest.lines().find_map(|line| line.strip_prefix("members = [")).expect("one line");
    line.trim_end_matches(']').split(',').map(|name| workspace().join(name.trim().trim_matches('"'))).collect()
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn every_member_has_the_common_lints() {
    for member in members() {
        let manifest = fs::read_to_string(member.join("Cargo.toml")).expect("a member has a manifest");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{}", member.display());
    }
}

#[test]
fn every_file_says_what_it_is_for_and_none_is_long_or_unfinished() {
    let mut files = Vec::new();
    members().iter().for_each(|member| rust_files(member, &mut files));
    assert!(files.len() > 50);
    let mut problems = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("text");
        let path = file.strip_prefix(workspace()).expect("inside").display().to_string();
        let tests = path.ends_with("tests.rs") || path.contains("/tests/");
        // The settings are a table of data, the simulation and the tests are stories.
        let long = ["config/src/settings.rs", "master/src/fleet/sim.rs"].contains(&path.as_str()) || tests;
        if !tests && !text.starts_with("//!") {
            problems.push(format!("{path} does not begin with its purpose"));
        }
        if !long && text.lines().count() > LONGEST {
            problems.push(format!("{path} has more than {LONGEST} lines"));
        }
        for leftover in
            [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!("), concat!("FIX", "ME")]
        {
            if text.contains(leftover) {
                problems.push(format!("{path} has a {leftover}"));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn unsafe_code_is_in_sys_and_scoreboard_only() {
    let mut files = Vec::new();
    members().iter().for_each(|member| rust_files(member, &mut files));
    for file in files {
        let path = file.strip_prefix(workspace()).expect("inside");
        let text = fs::read_to_string(&file).expect("text");
        let allowed = path.starts_with("sys") || path.starts_with("scoreboard");
        let opens = [concat!("allow(", "unsafe_code"), concat!("expect(", "unsafe_code")];
        assert!(allowed || !opens.iter().any(|open| text.contains(open)), "{}", path.display());
    }
}

#[test]
fn the_readme_has_the_commands_that_are_tested() {
    let readme = fs::read_to_string(workspace().join("README.md")).expect("it is there");
    for command in [
        "$ cargo run --release --bin rustcorn -- --workers 4 app/app.toml",
        "$ curl -i http://127.0.0.1:8000/",
        "$ kill -9 ",
        "$ kill -HUP ",
        "$ cargo test --workspace",
    ] {
        assert!(readme.lines().any(|line| line.starts_with(command)), "{command}");
    }
    let app = fs::read_to_string(workspace().join("app/app.toml")).expect("it is there");
    assert!(app.contains("bind = \"127.0.0.1:8000\""));
}
