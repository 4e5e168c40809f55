//! Tests of the whole: from files, variables and flags to settings and messages.

mod app;
mod control;
mod dev;
mod guards;
mod layers;
mod messages;
mod process;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::{Invocation, Loaded};

/// The least that a file must say.
const HELLO: &str = "[app]\nhandler = \"hello\"\n";

/// A directory of its own, gone when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rustcorn-config-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("the temporary directory is writable");
        Self(path)
    }

    /// Writes `app.toml` and calls the program on it. `args` is split at blanks.
    fn invocation(&self, file: &[u8], env: &[(&str, &str)], args: &str) -> Invocation {
        let path = self.0.join("app.toml");
        std::fs::write(&path, file).expect("the directory is writable");
        let file = path.to_str().expect("the temporary directory has a UTF-8 name");
        invocation(&format!("{args} {file}"), env).expect("the command line has the right form")
    }

    /// A text without the directory in it.
    fn plain(&self, text: &impl ToString) -> String {
        text.to_string().replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A directory that is left behind is the system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn invocation(args: &str, env: &[(&str, &str)]) -> Result<Invocation, crate::Usage> {
    let args = ["/usr/bin/rustcorn"].into_iter().chain(args.split_whitespace()).map(OsString::from);
    Invocation::from_args(args, env.iter().map(|&(name, value)| (name.into(), value.into())))
}

/// What a good configuration loads to.
fn load(file: &str, env: &[(&str, &str)], args: &str) -> Loaded {
    let directory = Directory::new();
    directory.invocation(file.as_bytes(), env, args).load().map_err(|problems| problems.to_string()).unwrap()
}

/// The messages for a bad one.
fn complaints(file: impl AsRef<[u8]>, env: &[(&str, &str)], args: &str) -> Vec<String> {
    let directory = Directory::new();
    let problems = directory.invocation(file.as_ref(), env, args).load().expect_err("the configuration is bad");
    problems.0.iter().map(|problem| directory.plain(problem)).collect()
}

/// The only message for a bad file.
fn complaint(file: impl AsRef<[u8]>) -> String {
    let mut all = complaints(file, &[], "");
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}
