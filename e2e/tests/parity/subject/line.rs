//! A line of the error log: `[2026-11-22 06:55:00 +0000] [7] [INFO] Booting worker with pid: 7`.

/// Its parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    pub(crate) pid: u32,
    pub(crate) level: String,
    pub(crate) text: String,
}

impl Line {
    /// None for a line of another form.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (time, rest) = line.strip_prefix('[')?.split_once("] [")?;
        let (pid, rest) = rest.split_once("] [")?;
        let (level, text) = rest.split_once("] ")?;
        let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let known = ["0000-00-00 00:00:00 +0000", "0000-00-00 00:00:00 -0000"].contains(&form.as_str());
        known.then(|| Some(Self { pid: pid.parse().ok()?, level: level.to_owned(), text: text.to_owned() }))?
    }
}
