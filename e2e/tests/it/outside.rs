//! A crate outside of the workspace, with the documented interface and nothing else: it builds, passes its own tests, and what it
//! makes of each part of that interface is seen from outside.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::harness::binaries::workspace;
use crate::harness::dir::Dir;
use crate::harness::project::{cargo, facade, lock, program};
use crate::harness::{PATIENCE, Setup, Sig, proc};

/// Builds it once, with its tests.
fn built() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let dir = Dir::new();
        copy(&workspace().join("e2e/data/outside"), dir.path());
        let manifest = std::fs::read_to_string(dir.path().join("Cargo.toml.in")).expect("it is there");
        dir.write("Cargo.toml", &manifest.replace("{{facade}}", &facade()));
        dir.write("examples.md", &examples());
        lock(dir.path());
        cargo(dir.path(), &["test", "--no-run"]);
        cargo(dir.path(), &["build"]);
        cargo(dir.path(), &["test"]);
    });
}

/// All examples of the documentation: they compile and hold outside, too, where `rustcorn` is all there is of us.
fn examples() -> String {
    let mut files = Vec::new();
    for part in ["app/src", "worker/src"] {
        sources(&workspace().join(part), &mut files);
    }
    let mut examples = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("it can be read");
        let docs = text.lines().filter_map(|line| line.trim().strip_prefix("///").or(line.trim().strip_prefix("//!")));
        let mut fence = None; // that the line is below of
        for line in docs.map(|line| line.strip_prefix(' ').unwrap_or(line)) {
            let is_fence = line.starts_with("```");
            let kind = fence.or(is_fence.then_some(line));
            if kind.is_some_and(|kind| kind != "```text") && line != "# use rustcorn_worker as rustcorn;" {
                writeln!(examples, "{line}").expect("a string takes all");
            }
            fence = if is_fence && fence.is_some() { None } else { kind };
        }
    }
    let count = examples.lines().filter(|line| line.starts_with("```")).count() / 2;
    assert!(count > 30, "{count} examples were found");
    examples
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("it can be read").path()) {
        if entry.is_dir() {
            sources(&entry, files);
        } else {
            files.push(entry);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("ours");
    for entry in std::fs::read_dir(from).expect("it is there").map(|entry| entry.expect("it can be read")) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("ours");
        }
    }
}

fn service() -> Setup {
    built();
    Setup::program("outside", &program("outside"), "greeting = \"Hello\"\n").set("workers = 2")
}

#[test]
fn its_service_runs_with_hooks_tasks_and_a_reload_that_it_can_refuse() {
    let mut server = service().expect("Reload failed").start();
    assert_eq!(server.log.count("on_starting: 2 workers say Hello"), 1);
    server.wait_for_line("on_ready: Some(\"2\")");
    assert_eq!(server.log.count("worker_init: "), 2);
    assert_eq!(server.get("/").expect("answered").body, "Hello");
    assert_eq!(server.get("/who").expect("answered").body, "127.0.0.1 http true");

    server.reconfigure("", "greeting = \"Good morning\"");
    assert!(server.reload().contains("Reloaded: generation 2"));
    assert_eq!(server.log.count("on_reload: Hello to Good morning, [\"app.greeting\"]"), 1);
    server.log.wait(0, "worker_exit: ", 2, PATIENCE);
    server.log.wait(0, "the writer is done", 2, PATIENCE);
    assert_eq!(server.get("/").expect("answered").body, "Good morning");

    server.reconfigure("", "greeting = \"\"");
    let outcome = server.reload();
    assert!(outcome.contains("Reload failed: ") && outcome.contains("app.greeting: say something"), "{outcome}");
    assert_eq!(server.get("/").expect("answered").body, "Good morning");

    let mut upgraded = server.connect();
    upgraded.send("GET", "/upgrade", "Connection: upgrade\r\nUpgrade: echo\r\n", "").expect("sent");
    assert_eq!(upgraded.receive(true).expect("answered").status, 101);
    drop(upgraded);
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert_eq!(server.log.count("worker_exit: 0 true") + server.log.count("worker_exit: 1 true"), 2, "drained");
}

#[test]
fn its_worker_that_hangs_is_told_to_its_hook() {
    let server = service().set("timeout = 2\nworkers = 1").expect("WORKER TIMEOUT").expect("was sent SIGABRT").start();
    let mut hung = server.connect();
    hung.send("GET", "/hang", "", "").expect("sent");
    server.wait_for_line("worker_hang: 0 [\"GET /hang\"] true");
    server.log.wait(0, "Worker ready", 2, PATIENCE);
    assert_eq!(server.get("/").expect("answered").body, "Hello");
}

#[test]
fn its_mistakes_are_told_by_file_line_and_key() {
    let mut server = service().app("mode = \"wild\"").expect("on_starting").launch();
    assert_eq!(server.wait_for_exit(PATIENCE), 1);
    let told = server.log.since(0).join("\n");
    assert!(told.contains("app.toml:") && told.contains("app.mode: "), "{told}");
}

#[test]
fn its_functions_and_its_routes_are_services_and_it_can_be_a_command() {
    built();
    let server = Setup::program("plain", &program("plain"), "").set("workers = 1").start();
    let post = |body| server.connect().request("POST", "/", "", body).expect("answered").body;
    assert_eq!((post("four"), post("")), ("1 4".to_owned(), "2 0".to_owned()), "one thread has the count");

    let server = Setup::program("routes", &program("routes"), "").start();
    let answer =
        server.connect().request("POST", "/a.B/C", "Content-Type: application/grpc\r\n", "").expect("answered");
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("12")), "there is no such method");

    let app = format!("command = [{:?}]\ngreeting = \"Hello\"\n", program("outside"));
    let server = Setup::hello().without("handler").app(&app).start();
    assert_eq!(server.get("/").expect("answered").body, "Hello");
    assert!(server.workers().iter().all(|pid| proc::lives(*pid)));
}
