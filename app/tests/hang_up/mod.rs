//! SIGHUP for the servers under test, however the tests were started.

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
