//! What tests of the real program need of their surroundings.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A folder that nobody else has.
pub(crate) fn folder(kind: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    loop {
        let name = format!("rustcorn-{kind}-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        match std::fs::create_dir(&folder) {
            Ok(()) => return folder,
            // Left behind by tests that were killed, and whose process id is ours now.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => panic!("cannot make {}: {error}", folder.display()),
        }
    }
}

/// Under nohup(1) every server would start with SIGHUP ignored, and keep it so. A signal that this process handles has its default
/// action again in the programs that it starts (execve(2)).
pub(crate) fn hear_hang_ups() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _inside = runtime.enter();
        drop(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).expect("SIGHUP can be handled"));
    });
}
