use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rustcorn-pidfile-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).expect("nobody else uses this name");
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("it is ours");
        entries.map(|entry| entry.expect("it reads").file_name().into_string().expect("text")).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // the system cleans what is left
    }
}

/// A process that lives until dropped.
struct Other(std::process::Child);

impl Other {
    fn start() -> Self {
        Self(Command::new("cat").stdin(Stdio::piped()).spawn().expect("there is a cat"))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.0.stdin.take()); // its end-of-file
        self.0.wait().expect("it is our child");
    }
}

#[test]
fn it_holds_our_id_for_everybody_to_read_and_is_removed_in_the_end() {
    let folder = Folder::new("life");
    let path = folder.0.join("a.pid");
    let pidfile = Pidfile::create(&path).expect("nothing is in the way");
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), format!("{}\n", std::process::id()));
    assert_eq!(std::fs::metadata(&path).expect("it is there").mode() & 0o777, 0o644);
    assert_eq!(folder.names(), ["a.pid"], "no temporary file is left");
    drop(pidfile);
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn what_was_left_behind_is_replaced() {
    let folder = Folder::new("stale");
    let path = folder.0.join("a.pid");
    // 2^22 is above what the kernel gives out; then no number, no text, nothing.
    for text in [&b"4194305\n"[..], b"abc\n", b"-1", b"\xff\xfe", b""] {
        std::fs::write(&path, text).expect("the folder is ours");
        drop(Pidfile::create(&path).unwrap_or_else(|error| panic!("{text:?}: {error}")));
    }
}

#[test]
fn a_process_that_lives_keeps_its_file_and_one_that_came_later_has_none() {
    let folder = Folder::new("live");
    let path = folder.0.join("a.pid");
    let other = Other::start();
    std::fs::write(&path, format!("{}\n", other.pid())).expect("the folder is ours");
    let error = Pidfile::create(&path).expect_err("it lives");
    let words = format!("Already running on PID {} (or pid file is stale)", other.pid());
    assert!(error.to_string().starts_with(&words), "{error}");
    // The machine was restarted since, and the number given to somebody else.
    let file = File::options().write(true).open(&path).expect("it is ours");
    #[allow(clippy::disallowed_methods, reason = "the time of a file")]
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    file.set_modified(hour_ago).expect("it is ours");
    drop(Pidfile::create(&path).expect("that process was not there when the file was written"));
}

#[test]
fn a_file_that_is_locked_is_in_use_whatever_it_says() {
    let folder = Folder::new("locked");
    let path = folder.0.join("a.pid");
    std::fs::write(&path, "\n").expect("the folder is ours");
    let file = File::open(&path).expect("it is there");
    assert!(try_lock(&file).expect("locks work here"));
    let error = Pidfile::create(&path).expect_err("somebody holds it");
    assert!(error.to_string().starts_with("Already running: another process holds "), "{error}");
    drop(file);
    drop(Pidfile::create(&path).expect("nobody holds it"));
}

#[test]
fn what_is_no_pidfile_is_left_alone() {
    let folder = Folder::new("other");
    let path = folder.0.join("a.pid");
    let text = "important = \"far more than a process id\"\n";
    std::fs::write(&path, text).expect("the folder is ours");
    assert!(matches!(Pidfile::create(&path), Err(PidfileError::NoPidfile { .. })));
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), text);
    assert!(matches!(Pidfile::create(&folder.0), Err(PidfileError::NoPidfile { .. })));
    let error = Pidfile::create(&folder.0.join("none/a.pid")).expect_err("there is no such directory");
    assert!(error.to_string().contains("No such file or directory; check the directory"), "{error}");
}

#[test]
fn a_file_that_is_not_ours_any_more_stays() {
    let folder = Folder::new("lost");
    let path = folder.0.join("a.pid");
    let pidfile = Pidfile::create(&path).expect("nothing is in the way");
    std::fs::write(folder.0.join("b"), "1\n").expect("the folder is ours");
    std::fs::rename(folder.0.join("b"), &path).expect("the folder is ours");
    drop(pidfile);
    assert_eq!(std::fs::read_to_string(&path).expect("it stays"), "1\n");
}

#[test]
fn a_promotion_takes_over_the_name() {
    let folder = Folder::new("promotion");
    let (old, new) = (folder.0.join("a.pid"), folder.0.join("a.pid.2"));
    std::fs::write(&old, "4194305\n").expect("the folder is ours");
    let mut pidfile = Pidfile::create(&new).expect("nothing is in the way");
    pidfile.rename_to(&old).expect("the other is gone");
    assert_eq!((folder.names(), pidfile.path()), (vec!["a.pid".to_owned()], old.as_path()));
    // One that somebody removed is made again.
    std::fs::remove_file(&old).expect("it is there");
    pidfile.rename_to(&new).expect("the folder is ours");
    assert_eq!(folder.names(), ["a.pid.2"]);
    drop(pidfile);
    assert_eq!(folder.names(), [""; 0]);
}
