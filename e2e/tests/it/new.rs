//! `rustcorn new`: the project builds, passes its own tests, serves and reloads.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::binaries::rustcorn;
use crate::harness::dir::Dir;
use crate::harness::project::{cargo, facade, good, lock, program};
use crate::harness::{PATIENCE, Setup, eventually};

fn new(dir: &Path, args: &[&str]) -> Output {
    Command::new(rustcorn()).arg("new").args(args).current_dir(dir).output().expect("the program was built")
}

#[test]
fn a_project_builds_and_passes_its_tests_and_serves_and_reloads() {
    let dir = Dir::new();
    let output = new(dir.path(), &["green-tea", "--path", &facade()]);
    good(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains("cd green-tea"));

    let project = dir.path().join("green-tea");
    lock(&project);
    cargo(&project, &["build"]);
    cargo(&project, &["test"]);

    let app = std::fs::read_to_string(project.join("app.toml")).expect("it was made");
    let keys = app.split_once("[app]\n").expect("a table for the service").1;
    let mut server = Setup::program("green-tea", &program("green-tea"), keys).start();
    assert!(server.log.find(0, "Using worker: green-tea (2 workers)").is_some());
    assert_eq!(server.get("/").map(|response| response.body).as_deref(), Ok("Hello World!\n"));
    assert_eq!(
        server.get("/hello/you").map(|response| response.body).as_deref(),
        Ok(r#"{"text":"Hello World!, you"}"#)
    );
    assert!(server.log.find(0, "loaded").is_some(), "what it logs is in the log");

    server.reconfigure("", "greeting = \"Good morning\"");
    assert!(server.reload().contains("Reloaded: generation 2"));
    eventually("the new greeting", PATIENCE, || {
        (server.get("/").map(|response| response.body).as_deref() == Ok("Good morning\n")).then_some(())
    });
}

#[test]
fn what_cannot_be_a_project_is_refused() {
    let dir = Dir::new();
    dir.write("taken", "a file");
    std::fs::create_dir(dir.path().join("full")).expect("ours");
    dir.write("full/file", "x");
    std::fs::create_dir(dir.path().join("empty")).expect("ours");
    for (args, code, why) in [
        (&["full"][..], 1, "Error: cannot make a project in full: the folder is not empty; choose another name"),
        (&["taken"], 1, "Error: cannot make a project in taken: Not a directory"),
        (&["fn"], 2, "\"fn\" cannot be the name of a project: the word has a meaning for Rust"),
        (&["Green"], 2, "use lower-case letters"),
        (&["a/b"], 2, "use lower-case letters"),
        (&["tea", "--path", "full"], 1, "cannot use full: it holds no crate"),
        (&["tea", "--path", "nowhere"], 1, "cannot use nowhere: No such file"),
        (&["tea", "cup"], 2, "Usage: rustcorn new NAME"),
    ] {
        let output = new(dir.path(), args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(why), "{args:?}: {said}");
    }
    assert!(!dir.path().join("tea").exists());
    good(&new(dir.path(), &["empty"]));
    let manifest = std::fs::read_to_string(dir.path().join("empty/Cargo.toml")).expect("it was made");
    assert!(
        manifest
            .contains(&format!("rustcorn = {{ version = {:?}, default-features = false", env!("CARGO_PKG_VERSION")))
    );
    for file in ["Dockerfile", "README.md", ".gitignore", ".dockerignore", "tests/http.rs", "src/lib.rs"] {
        assert!(dir.path().join("empty").join(file).is_file(), "{file}");
    }
}

#[test]
fn a_configuration_that_is_called_new_is_still_one() {
    let setup = Setup::hello();
    setup.dir.write("new", "[app]\nhandler = \"hello\"\n");
    for args in [["new", "--check-config"], ["--check-config", "new"]] {
        let output = setup.run_with(&args);
        assert!(output.stdout.starts_with(b"new: the configuration is good\n"), "{output:?}");
    }
    std::fs::remove_file(setup.dir.path().join("new")).expect("ours");
    let output = setup.run_with(&["new"]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("Usage: rustcorn new NAME"), "{output:?}");
}
