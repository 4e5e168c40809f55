//! The real programs, built once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `rustcorn` program.
pub(crate) fn rustcorn() -> PathBuf {
    folder().join("rustcorn")
}

/// The misbehaving application.
pub(crate) fn testapp() -> PathBuf {
    folder().join("rustcorn-e2e-testapp")
}

/// A service that does not use the rustcorn crate.
pub(crate) fn foreign() -> PathBuf {
    folder().join("rustcorn-e2e-foreign")
}

/// A program of this package as a newer release would be: the same file, but for the version that it tells.
pub(crate) fn of_version(program: &Path, version: u8) -> Vec<u8> {
    const MARK: &[u8] = b"rustcorn-e2e-version-";
    let mut code = std::fs::read(program).expect("it was built");
    let at: Vec<usize> = (0..code.len()).filter(|at| code[*at..].starts_with(MARK)).collect();
    assert!(!at.is_empty(), "{} tells no version", program.display());
    at.iter().for_each(|at| code[at + MARK.len()] = b'0' + version);
    code
}

/// The application that writes its hooks down.
pub(crate) fn hooks() -> PathBuf {
    folder().join("rustcorn-e2e-hooks")
}

/// The client of the control socket.
pub(crate) fn rustcornctl() -> PathBuf {
    folder().join("rustcornctl")
}

/// One of the examples. By themselves: a test that needs none of them does not wait for the frameworks that they are written with.
pub(crate) fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        folder();
        build(&["-p", "rustcorn-examples", "--bins"]);
    });
    folder().join(name)
}

/// The workspace's own folder.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a folder of the workspace")
}

/// Where the programs are. The first call builds them: cargo builds this package's own program for its tests, but not that of
/// another package.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        hear_hang_ups();
        build(&["-p", "rustcorn", "-p", "rustcorn-ctl", "-p", "rustcorn-e2e", "--bins"])
    })
}

/// Builds beside this test, as it was built; where.
fn build(packages: &[&str]) -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a file");
    let folder = test.parent().and_then(Path::parent).expect("tests are in target/PROFILE/deps").to_owned();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline"])
        .args(packages)
        .args(["--profile", profile, "--target-dir"])
        .arg(folder.parent().expect("a profile is a folder of the target folder"))
        .current_dir(workspace())
        .status()
        .expect("the cargo that built this test still exists");
    assert!(built.success(), "the programs do not build");
    folder
}

/// Where the tests run under nohup(1), or a runner like it, every server would start with SIGHUP ignored, and keep it so. A signal
/// that this process handles has its default action again in the programs that it starts (execve(2)).
fn hear_hang_ups() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    drop(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).expect("SIGHUP can be handled"));
}
