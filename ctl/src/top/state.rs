//! What is on the screen besides the picture, and what the keys do.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use rustcorn_control::Command;

use super::model::Picture;

/// A message that nobody answers stays this long.
const SHOWN: Duration = Duration::from_secs(15);

#[derive(Default, Debug)]
pub(crate) struct State {
    pub(crate) picture: Option<Picture>,
    /// The server did not answer the last time.
    pub(crate) trouble: Option<String>,
    /// What is to be confirmed.
    pub(crate) question: Option<Command>,
    /// How the last command went, or that it is under way.
    pub(crate) message: Option<String>,
    pub(super) seen: Option<(String, Instant)>,
    /// Rows that are scrolled past.
    pub(crate) scrolled: usize,
}

/// What a key asks for beyond the screen.
#[derive(PartialEq, Debug)]
pub(crate) enum Do {
    Leave { interrupted: bool },
    Tell(Command),
}

impl State {
    pub(crate) fn see(&mut self, picture: Picture, now: Instant) {
        self.trouble = None;
        self.scrolled = self.scrolled.min(picture.workers.len().saturating_sub(1));
        self.picture = Some(picture);
        self.forget_old_message(now);
    }

    fn forget_old_message(&mut self, now: Instant) {
        match (&self.message, &self.seen) {
            (Some(message), Some((seen, since))) if message == seen => {
                if now.duration_since(*since) >= SHOWN {
                    (self.message, self.seen) = (None, None);
                }
            }
            (Some(message), _) => self.seen = Some((message.clone(), now)),
            (None, _) => self.seen = None,
        }
    }

    pub(crate) fn press(&mut self, key: KeyEvent) -> Option<Do> {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Some(Do::Leave { interrupted: true });
        }
        if let Some(command) = self.question.take() {
            if matches!(key.code, KeyCode::Char('y' | 'Y') | KeyCode::Enter) {
                self.message = Some(format!("{command} …"));
                return Some(Do::Tell(command));
            }
            return None; // any other key is a no
        }
        let rows = self.picture.as_ref().map_or(0, |picture| picture.workers.len());
        let last = rows.saturating_sub(1);
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Do::Leave { interrupted: false }),
            KeyCode::Char('+') => self.question = Some(Command::Add { count: 1, wait: false }),
            KeyCode::Char('-') => self.question = Some(Command::Remove { count: 1 }),
            KeyCode::Char('r') => self.question = Some(Command::Reload { wait: true }),
            KeyCode::Down => self.scrolled = (self.scrolled + 1).min(last),
            KeyCode::Up => self.scrolled = self.scrolled.saturating_sub(1),
            KeyCode::PageDown => self.scrolled = (self.scrolled + 10).min(last),
            KeyCode::PageUp => self.scrolled = self.scrolled.saturating_sub(10),
            KeyCode::Home => self.scrolled = 0,
            KeyCode::End => self.scrolled = last,
            _ => {}
        }
        None
    }
}
