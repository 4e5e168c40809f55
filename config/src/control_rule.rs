//! What the settings of the control socket accept, and where a file says that it is.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::address::LONGEST_PATH;
use crate::file::Source;
use crate::input::Input;
use crate::problem::Problem;
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
        "an octal number from \"0000\" to \"0777\" in quotes, such as \"0600\"".to_owned()
    }

    /// As text alone: of a number in the file nobody can tell any more whether 600 or 0o600 was written.
    fn parse(&self, input: &Input) -> Result<u32, String> {
        let digits = input.text().map(|text| text.strip_prefix("0o").unwrap_or(text));
        let octal = digits.filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
        let mode = octal.and_then(|digits| u32::from_str_radix(digits, 8).ok()).filter(|mode| *mode <= 0o777);
        mode.ok_or_else(|| input.refused(&self.allowed()))
    }

    fn show(&self, value: &u32) -> String {
        quoted(&format!("{value:04o}"))
    }
}
