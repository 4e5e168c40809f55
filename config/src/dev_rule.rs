//! What the settings for development accept.

use std::path::PathBuf;

use crate::input::Input;
use crate::rule::{Rule, quoted};

/// Files and directories: a list, or text with commas; empty for none.
pub(crate) struct Paths;

impl Rule<Vec<PathBuf>> for Paths {
    fn allowed(&self) -> String {
        "paths (several: a list, or commas), or nothing".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<Vec<PathBuf>, String> {
        let with_commas = |text: &str| -> Vec<PathBuf> {
            text.split(',').map(str::trim).filter(|path| !path.is_empty()).map(PathBuf::from).collect()
        };
        match input {
            Input::Untyped(text) | Input::Text(text) => Ok(with_commas(text)),
            Input::List(items) => {
                let mut paths = Vec::new();
                for item in items {
                    match item {
                        // A list needs no commas inside, and a path may hold one.
                        Input::Text(text) if !text.is_empty() => paths.push(text.into()),
                        Input::Untyped(text) => paths.extend(with_commas(text)),
                        other => return Err(other.refused(&self.allowed())),
                    }
                }
                Ok(paths)
            }
            other => Err(other.refused(&self.allowed())),
        }
    }

    fn show(&self, value: &Vec<PathBuf>) -> String {
        let items: Vec<String> = value.iter().map(|path| quoted(&path.to_string_lossy())).collect();
        format!("[{}]", items.join(", "))
    }
}
