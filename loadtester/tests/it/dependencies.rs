//! It measures from outside: no other crate of the workspace may be among its dependencies.

use std::process::Command;

#[test]
fn no_other_crate_of_the_workspace_is_linked() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--prefix", "none", "--edges", "normal", "-p", "rustcorn-loadtester"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    let ours: Vec<&str> = tree.lines().filter(|line| line.starts_with("rustcorn")).collect();
    assert_eq!(ours.len(), 1, "{ours:?} {}", String::from_utf8_lossy(&output.stderr));
}
