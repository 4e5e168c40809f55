//! The control socket's settings, and the configuration as it is shown to those who ask there.

use std::path::{Path, PathBuf};

use super::{Directory, HELLO, complaint, load};
use crate::{Shown, control_socket};

#[test]
fn a_control_socket_is_off_and_private_unless_told_otherwise() {
    let settings = load(HELLO, &[], "").settings;
    assert_eq!((settings.control_socket, settings.control_socket_mode), (None, 0o600));
    let settings = load(HELLO, &[("RUSTCORN_CONTROL_SOCKET_MODE", "0o660")], "--control-socket run/ctl.sock").settings;
    assert_eq!((settings.control_socket, settings.control_socket_mode), (Some(PathBuf::from("run/ctl.sock")), 0o660));
}

#[test]
fn what_is_no_path_and_no_mode() {
    let told = |line: &str| complaint(format!("{line}\n{HELLO}"));
    assert_eq!(
        told("control_socket = \"unix:/run/ctl.sock\""),
        "app.toml:1: control_socket: \"unix:/run/ctl.sock\" is not allowed; write the path alone, without unix:"
    );
    let long = "x".repeat(108);
    assert!(told(&format!("control_socket = \"{long}\"")).contains("use a path of at most 107 bytes"));
    for mode in ["600", "0o600", "\"0800\"", "\"01000\"", "\"rw\"", "\"\"", "\"+6\""] {
        let message = told(&format!("control_socket_mode = {mode}"));
        assert!(
            message.ends_with("an octal number from \"0000\" to \"0777\" in quotes, such as \"0600\""),
            "{message}"
        );
    }
}

#[test]
fn every_setting_is_shown_with_its_origin_and_no_secret_of_the_application() {
    let file = format!("workers = 3\n{HELLO}password = \"hunter2\"\n");
    let loaded = load(&file, &[("RUSTCORN_TIMEOUT", "1.5")], "--threads 2");
    let shown = loaded.shown();
    let find = |key: &str| shown.iter().find(|shown| shown.key == key).cloned().unwrap();
    let shown_as = |key: &str, value: toml::Value, origin: &str| {
        let Shown { value: found, origin: from, .. } = find(key);
        assert!(found == value && from.ends_with(origin), "{key}: {found} from {from}");
    };
    shown_as("workers", 3.into(), "app.toml:1");
    shown_as("timeout", 1.5.into(), "environment RUSTCORN_TIMEOUT");
    shown_as("threads", 2.into(), "command line --threads");
    shown_as("bind", vec!["127.0.0.1:8000"].into(), "default");
    shown_as("app.handler", "hello".into(), "app.toml:3");
    shown_as("app.password", "(hidden)".into(), "app.toml:4");
    assert!(!format!("{shown:?}").contains("hunter2"));
}

#[test]
fn the_path_is_found_in_a_file_that_is_broken_elsewhere() {
    let directory = Directory::new();
    let of = |text: &str| {
        let file = directory.0.join("app.toml");
        std::fs::write(&file, text).unwrap();
        control_socket(&file).map_err(|problem| directory.plain(&problem))
    };
    assert_eq!(of("workerz = 3\ncontrol_socket = \"/run/ctl.sock\"\n[app\n"), Ok(Some("/run/ctl.sock".into())));
    assert_eq!(of("workers = 3\n"), Ok(None));
    assert_eq!(
        of("\ncontrol_socket = 3"),
        Err("app.toml:2: control_socket: 3 is not allowed; use a path of at most 107 bytes without control characters, \
             or nothing"
            .into())
    );
    assert!(control_socket(Path::new("/nowhere/app.toml")).is_err());
}
