//! A project of somebody else's, outside of the workspace.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::binaries::workspace;

/// The crate that such a project depends on.
pub(crate) fn facade() -> String {
    workspace().join("app").to_str().expect("a path as cargo makes it").to_owned()
}

/// Gives it the packages of the workspace's own lock, so that nothing has to come from the network.
pub(crate) fn lock(project: &Path) {
    std::fs::copy(workspace().join("Cargo.lock"), project.join("Cargo.lock")).expect("it is there");
}

/// Where its programs are built. Not in the folder of this build: the project's packages have features of their own, and no
/// debugging information, which nobody reads.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("new")
}

/// A program of it, once it is built.
pub(crate) fn program(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// Runs cargo in the project, without the network.
#[track_caller]
pub(crate) fn cargo(project: &Path, args: &[&str]) {
    let mut command = Command::new(env!("CARGO"));
    command.args(args).args(["--offline", "--quiet"]).current_dir(project);
    command.env("CARGO_TARGET_DIR", target()).env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
    good(&command.output().expect("the cargo that built this test still exists"));
}

#[track_caller]
pub(crate) fn good(output: &Output) {
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(output.status.success(), "{}", said.join("\n"));
}
