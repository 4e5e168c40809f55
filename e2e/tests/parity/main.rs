//! Parity: the scenarios that an operator of gunicorn knows, run against whichever server is under test.
//!
//! `cargo test` runs them against rustcorn, `SERVER_UNDER_TEST=gunicorn` against a real gunicorn (`GUNICORN=/path/to/gunicorn`, else
//! the one on PATH), with the same settings and an application that answers alike (`app.py`). Where the two are meant to differ, a
//! scenario says so by `differs(id)` and states what each of them does: both is tested, so that what is said about gunicorn is a
//! fact. Each id is a line of `docs/differences.md`.
//!
//! | module | the habit |
//! |---|---|
//! | `start` | the first lines, flags, layers of settings, exit codes of a start that fails |
//! | `stop` | TERM, INT, QUIT, and one after the other |
//! | `scale` | TTIN, TTOU, WINCH |
//! | `reload` | HUP, with good and bad news |
//! | `crash` | workers that die or hang, and a master that does |
//! | `recycle` | max_requests |
//! | `upgrade` | USR2 |
//! | `identity` | pidfile, umask, environment, daemon |
//! | `sockets` | unix sockets, sockets from systemd |
//! | `http` | what clients see |
//! | `logs`, `statsd` | what tools read |
//! | `access` | the access log |
//! | `control` | a server that is asked and told over a socket |
//! | `list` | docs/differences.md is complete and true |

#[allow(dead_code, unused_imports, reason = "shared with the other black-box tests, which use more of it")]
#[path = "../it/harness/mod.rs"]
mod harness;
mod subject;

mod access;
mod control;
mod crash;
mod http;
mod identity;
mod list;
mod logs;
mod recycle;
mod reload;
mod scale;
mod sockets;
mod start;
mod statsd;
mod stop;
mod upgrade;
