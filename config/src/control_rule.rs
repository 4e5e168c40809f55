//! What the settings of the control socket accept, and where a file says that it is.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::address::LONGEST_PATH;
use crate::file::Source;
use crate::input::Input;
use crate::problem::Problem;
use crate::process_rule::Octal;
use crate::rule::{Rule, quoted};

/// The path of a unix socket; empty for none.
pub(crate) struct SocketPath;

impl Rule<Option<PathBuf>> for SocketPath {
    fn allowed(&self) -> String {
        format!("a path of at most {LONGEST_PATH} bytes without control characters, or nothing")
    }

    fn parse(&self, input: &Input) -> Result<Option<PathBuf>, String> {
        match input.text() {
            Some("") => Ok(None),
            Some(text) if text.starts_with("unix:") => {
                Err(format!("{text:?} is not allowed; write the path alone, without unix:"))
            }
            Some(text) if text.len() <= LONGEST_PATH && !text.contains(char::is_control) => Ok(Some(text.into())),
            _ => Err(input.refused(&self.allowed())),
        }
    }

    fn show(&self, value: &Option<PathBuf>) -> String {
        quoted(&value.as_ref().map_or_else(String::new, |path| path.display().to_string()))
    }
}

/// `control_socket` of a configuration file, for a program that wants to talk to the master that runs with it. Whatever else is
/// wrong in the file does not matter: that may be why one wants to talk.
///
/// # Errors
/// The file cannot be read, or the value is none.
pub fn control_socket(file: &Path) -> Result<Option<PathBuf>, Problem> {
    const KEY: &str = "control_socket";
    let source = Source::read(file, Path::new(""))?;
    let (root, _) = DeTable::parse_recoverable(&source.text);
    let Some((key, value)) = root.get_ref().get_key_value(KEY) else { return Ok(None) };
    let path = SocketPath.parse(&Input::from_toml(value.get_ref()));
    path.map_err(|text| Problem::new(source.origin(key.span().start), KEY, &text))
}

/// Permissions of a file, in octal.
pub(crate) struct Permissions;

impl Rule<u32> for Permissions {
    fn allowed(&self) -> String {
        "octal digits with a 0 in front, such as 0600, from 0 to 0777".to_owned()
    }

    /// As all permissions.
    fn parse(&self, input: &Input) -> Result<u32, String> {
        Octal.parse(input).ok().flatten().ok_or_else(|| input.refused(&self.allowed()))
    }

    fn show(&self, value: &u32) -> String {
        quoted(&format!("{value:04o}"))
    }
}
