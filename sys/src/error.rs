//! The system's errors, as people read them.

use std::io;

/// What it says, without `(os error 98)`.
#[must_use]
pub fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().map_or_else(String::new, str::to_owned)
}
