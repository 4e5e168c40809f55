//! A machine, an operator or a neighbour that does strange things must not stop the service.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use crate::harness::{PATIENCE, Setup, Sig, binaries, eventually, get, proc};

#[test]
fn a_hang_up_that_was_ignored_at_start_stays_ignored() {
    let server = Setup::hello().wrapped(&["sh", "-c", "trap '' HUP; exec \"$@\"", "nohup"]).start();
    server.signal(Sig::SIGHUP);
    server.signal(Sig::SIGTTIN);
    server.wait_for_line("Handling signal: ttin");
    assert_eq!(server.log.find(0, "Handling signal: hup"), None);
}

#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    let setup = Setup::hello().set("bind = \"unix:server.sock\"\nworkers = 1");
    setup.write();
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    fill(&mut writer);
    let mut master = Command::new(binaries::rustcorn())
        .arg("app.toml")
        .current_dir(setup.dir.path())
        .stdin(Stdio::null())
        .stderr(writer)
        .spawn()
        .expect("the program was built");
    let path = setup.dir.path().join("server.sock");
    let answers = || get(path.as_path(), "/").is_ok_and(|response| response.status == 200);
    eventually("it serves", PATIENCE, || answers().then_some(()));

    let first = eventually("it has a worker", PATIENCE, || proc::children(master.id()).first().copied());
    proc::signal(first, Sig::SIGKILL);
    eventually("a successor", PATIENCE, || proc::children(master.id()).first().filter(|pid| **pid != first).copied());
    eventually("it serves again", PATIENCE, || answers().then_some(()));

    // Room for a few lines again: the next one tells what is missing.
    let mut room = vec![0; 16 * 1024];
    reader.read_exact(&mut room).expect("it was full");
    proc::signal(master.id(), Sig::SIGTTIN);
    proc::signal(master.id(), Sig::SIGTERM);
    assert_eq!(master.wait().expect("our child").code(), Some(0));
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("text");
    assert!(rest.contains("log lines were lost: nobody read standard error"), "{}", rest.trim_start_matches('x'));
}

/// Writes until nothing more fits.
fn fill(writer: &mut std::io::PipeWriter) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(&*writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a pipe can be non-blocking");
    while writer.write(b"x").is_ok() {}
    fcntl(&*writer, FcntlArg::F_SETFL(OFlag::empty())).expect("and blocking again");
}

#[test]
fn a_file_that_has_become_a_pipe_fails_the_reload_at_once() {
    let server = Setup::hello().expect("Reload failed").start();
    let file = server.dir().join("app.toml");
    std::fs::remove_file(&file).expect("it was there");
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).expect("the folder is ours");
    server.signal(Sig::SIGHUP);
    let line = server.wait_for_line("Reload failed");
    assert!(line.contains("app.toml: it is a pipe"), "{line}");
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
}

#[test]
fn a_socket_that_somebody_else_put_in_our_place_is_left_alone() {
    let mut server = Setup::hello().set("bind = \"unix:server.sock\"").start();
    let path = server.dir().join("server.sock");
    std::fs::remove_file(&path).expect("it was there");
    let _neighbour = UnixListener::bind(&path).expect("the name is free");
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert!(path.exists());
}

#[test]
fn another_host_on_a_port_of_our_own_is_refused_with_the_true_reason() {
    let mut server = Setup::hello().expect("Reload failed").start();
    let port = server.address().port();
    server.reconfigure(&format!("bind = \"0.0.0.0:{port}\""), "");
    // The socket in force was bound by port 0, so as an address it is another one.
    server.signal(Sig::SIGHUP);
    let line = server.wait_for_line("Reload failed");
    let told = format!("cannot listen on http://0.0.0.0:{port}: this server itself listens at http://127.0.0.1:{port}");
    assert!(line.contains(&told), "{line}");
}

#[test]
fn standard_output_may_be_full() {
    let setup = Setup::hello();
    setup.write();
    let full = File::options().write(true).open("/dev/full").expect("every Linux has it");
    let run = Command::new(binaries::rustcorn())
        .args(["--print-config", "app.toml"])
        .current_dir(setup.dir.path())
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .expect("the program was built");
    assert_eq!(run.status.code(), Some(1));
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(said.starts_with("Error: cannot write to standard output:"), "{said}");
}
