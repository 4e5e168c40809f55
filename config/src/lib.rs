//! Settings of rustcorn: declared once, read in layers, validated, explained.
//!
//! [`Invocation`] keeps how the program was called; [`Invocation::load`] turns that and the file into [`Loaded`], or says
//! everything that is wrong. [`Settings`] travels to a worker as text ([`Settings::to_toml`]); the application reads its own
//! keys there with [`App::read`]. [`Settings::changes`] is what a reload acts on.
//!
//! No global state: arguments and environment come in as values.

mod access_rule;
mod address;
mod app;
mod cli;
mod connection_rule;
mod control_rule;
mod dev_rule;
mod duration;
mod endpoint;
mod file;
mod foreign;
mod handoff;
mod http_rule;
mod input;
mod invocation;
mod layers;
mod log_rule;
mod print;
mod problem;
mod process_rule;
mod profile;
mod rule;
mod setting;
mod settings;
mod size;
#[cfg(test)]
mod tests;
mod trust;

pub use access_rule::{AccessFormat, AccessLog, Atom, DEFAULT_ACCESS_FORMAT, Ends, Piece};
pub use address::{Address, StatsdHost};
pub use app::{App, AppSpec};
pub use cli::Usage;
pub use connection_rule::Protocol;
pub use control_rule::control_socket;
pub use endpoint::Endpoint;
pub use foreign::ForeignReady;
pub use handoff::Change;
pub use http_rule::{HeaderMap, ProxyProtocol};
pub use invocation::{Invocation, Loaded, Mode, Origins};
pub use print::{Shown, settings_markdown};
pub use problem::{Origin, Problem, Problems, nearest, unknown};
pub use setting::{Apply, Setting};
pub use settings::{SETTINGS, Settings};
pub use trust::Trusted;
