//! The time of day in lines: its text is made once a second, and nobody asks the clock for a line.

use std::io::{self, Write};
use std::time::Duration;

use rustcorn_sys::Monotonic;
use rustcorn_sys::log::Second;

/// One second of the time of day, and where in it a request ended.
#[derive(Debug, Default)]
pub(super) struct Clock {
    text: Option<Second>,
    /// In nanoseconds since boot: when the second began.
    began: u64,
    micros: u64,
}

const SECOND: u64 = 1_000_000_000;

impl Clock {
    /// It is `now`.
    pub(super) fn turn_to(&mut self, now: Monotonic) {
        self.turn(now, Second::now);
    }

    fn turn(&mut self, now: Monotonic, look: impl FnOnce() -> Second) {
        let now = now.as_nanos();
        if self.text.is_none() || now.saturating_sub(self.began) >= SECOND {
            let second = look();
            self.began = now.saturating_sub(nanos(second.passed));
            self.text = Some(second);
        }
        // Another thread may have looked at the clock a little later, but has turned it before.
        self.micros = now.saturating_sub(self.began) / 1000;
    }

    pub(super) fn common(&self) -> &str {
        self.text.as_ref().map_or("-", |second| &second.common)
    }

    pub(super) fn write_rfc3339(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let text = self.text.as_ref().map_or("", |second| &second.rfc3339);
        write!(out, "{text}.{:06}Z", self.micros)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_is_asked_for_once_a_second() {
        let (mut clock, mut asked) = (Clock::default(), 0);
        let mut at = |millis: u64| {
            let look = || {
                asked += 1;
                let passed = Duration::from_millis((millis + 600) % 1000); // seconds begin at 0.4 of ours
                Second { common: format!("[{}]", (millis + 600) / 1000), rfc3339: "T".to_owned(), passed }
            };
            clock.turn(Monotonic::from_nanos((5_000 + millis) * 1_000_000), look);
            let mut text = Vec::new();
            clock.write_rfc3339(&mut text).unwrap();
            format!("{} {}", clock.common(), String::from_utf8(text).unwrap())
        };
        let lines = [0, 399, 400, 1399, 1400, 9400].map(&mut at);
        let expected =
            ["[0] T.600000Z", "[0] T.999000Z", "[1] T.000000Z", "[1] T.999000Z", "[2] T.000000Z", "[10] T.000000Z"];
        assert_eq!(lines, expected);
        assert_eq!(asked, 4);
    }
}
