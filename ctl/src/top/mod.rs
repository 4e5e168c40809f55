//! `rustcornctl top`: the server, live. One thread looks at the server, one draws and listens to keys, and one for each command
//! waits for how that ends; so a server that does not answer never freezes the terminal.
//!
//! | module | what it is |
//! |---|---|
//! | `model` | what is shown: two looks at the server, and the rates between them |
//! | `state` | what the keys do |
//! | `view` | how it looks |

mod model;
mod state;
mod view;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyEventKind};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use rustcorn_control::{Command, Status};

use crate::cli::{Options, Top};
use crate::client::{Client, Trouble};
use crate::{read, text};
use model::{Picture, Sample};
use state::{Do, State};

/// Time between two looks at the other threads.
const LOOK: Duration = Duration::from_millis(50);

/// What the other threads say.
enum News {
    Picture(Box<Picture>),
    NoAnswer(String),
    /// How a command ended.
    Done(String),
}

pub(crate) fn run(options: &Options, top: Top) -> Result<u8, Trouble> {
    let mut client = Client::connect(&options.socket, options.patience())?;
    let first = sample(&mut client)?;
    if top.once {
        return once(options, top, &mut client, &first);
    }
    if !std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        return Err(Trouble::usage("top needs a terminal; use top --once, or show all".to_owned()));
    }
    let (say, news) = channel();
    let (stay, gone) = channel();
    let sampler = {
        let (say, path, patience) = (say.clone(), options.socket.clone(), options.patience());
        let connect = move || Client::connect(&path, patience);
        std::thread::spawn(move || look(connect, top.interval, client, first, &say, &gone))
    };
    let outcome = watch(&options.socket, &say, &news);
    drop(stay);
    let sampled = sampler.join();
    let code = outcome.map_err(|error| Trouble::server(format!("cannot use the terminal: {error}")))?;
    if sampled.is_err() {
        return Err(Trouble::server("the thread that looks at the server has panicked".to_owned()));
    }
    Ok(code)
}

fn sample(client: &mut Client) -> Result<Sample, Trouble> {
    fn part<T: serde::de::DeserializeOwned>(client: &mut Client, command: Command) -> Result<T, Trouble> {
        let reply = client.ask(&command)?;
        match (reply.status, reply.data) {
            (Status::Ok, Some(data)) => read(data).map_err(Trouble::strange),
            (_, _) => Err(Trouble::server(reply.error.unwrap_or_default())),
        }
    }
    Ok(Sample {
        stats: part(client, Command::ShowStats)?,
        workers: part(client, Command::ShowWorkers)?,
        durations: part(client, Command::ShowDurations)?,
    })
}

/// One picture, as text or as JSON.
fn once(options: &Options, top: Top, client: &mut Client, first: &Sample) -> Result<u8, Trouble> {
    pause(top.interval);
    let picture = Picture::of(first, sample(client)?);
    if options.json {
        let mut line = serde_json::to_vec(&picture).map_err(Trouble::strange)?;
        line.push(b'\n');
        crate::print(&line)?;
        return Ok(0);
    }
    let width = crossterm::terminal::size().map_or(100, |(width, _)| width.max(80));
    let rows = u16::try_from(picture.workers.len()).unwrap_or(u16::MAX - 100);
    let mut terminal = Terminal::new(TestBackend::new(width, rows + view::FRAME)).map_err(Trouble::strange)?;
    let state = State { picture: Some(picture), message: Some(String::new()), ..State::default() }; // no keys here
    terminal.draw(|frame| view::draw(frame, &state)).map_err(Trouble::strange)?;
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(width)).map(|cells| {
        let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", line.trim_end())
    });
    let text: String = lines.collect();
    crate::print(format!("{}\n", text.trim_end()).as_bytes())?;
    Ok(0)
}

/// Time between two looks: there is nothing to wait for but the time itself.
fn pause(time: Duration) {
    let (_never, nothing) = channel::<()>();
    let _ = nothing.recv_timeout(time); // it can only time out
}

/// Looks at the server again and again, through its restarts too.
fn look(
    connect: impl Fn() -> Result<Client, Trouble>,
    interval: Duration,
    client: Client,
    first: Sample,
    say: &Sender<News>,
    gone: &Receiver<()>,
) {
    let (mut client, mut last) = (Some(client), Some(first));
    while gone.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        let connected = client.take().map_or_else(&connect, Ok);
        let looked = connected.and_then(|mut client| sample(&mut client).map(|sample| (client, sample)));
        let news = match looked {
            Ok((kept, now)) => {
                client = Some(kept);
                let before = last.replace(now.clone()).unwrap_or_else(|| now.clone());
                News::Picture(Box::new(Picture::of(&before, now)))
            }
            Err(trouble) => {
                last = None;
                News::NoAnswer(trouble.to_string())
            }
        };
        if say.send(news).is_err() {
            return;
        }
    }
}

/// Draws, and does what the keys say, until one says to leave. The exit code.
fn watch(path: &Path, say: &Sender<News>, news: &Receiver<News>) -> std::io::Result<u8> {
    let mut terminal = ratatui::try_init()?; // and restores it in a panic
    let mut state = State::default();
    let code = loop {
        if let Err(error) = terminal.draw(|frame| view::draw(frame, &state)) {
            break Err(error);
        }
        match next(&mut state, news) {
            Ok(Some(Do::Leave { interrupted })) => break Ok(if interrupted { 130 } else { 0 }),
            Ok(Some(Do::Tell(command))) => tell(path.to_owned(), command, say.clone()),
            Ok(None) => {}
            Err(error) => break Err(error),
        }
    };
    ratatui::try_restore()?;
    code
}

/// Waits until there is something to draw anew.
fn next(state: &mut State, news: &Receiver<News>) -> std::io::Result<Option<Do>> {
    loop {
        let mut changed = false;
        for news in news.try_iter() {
            changed = true;
            match news {
                News::Picture(picture) => state.see(*picture, Instant::now()),
                News::NoAnswer(why) => state.trouble = Some(why),
                News::Done(text) => state.message = Some(text),
            }
        }
        if changed {
            return Ok(None);
        }
        if event::poll(LOOK)? {
            return Ok(match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Press => state.press(key),
                _ => None, // another size: drawing anew is all there is to do
            });
        }
    }
}

/// Does it, and says how it ended.
fn tell(path: PathBuf, command: Command, say: Sender<News>) {
    std::thread::spawn(move || {
        let told = Client::connect(&path, None).and_then(|mut client| client.ask(&command));
        let text = match told.map(|reply| (reply.status, reply.data, reply.error)) {
            Ok((Status::Ok, Some(data), _)) => text::of(&command, data).unwrap_or_else(|error| error),
            Ok((_, _, error)) => error.unwrap_or_default(),
            Err(trouble) => trouble.to_string(),
        };
        let _ = say.send(News::Done(text.trim().to_owned())); // nobody looks any more
    });
}

#[cfg(test)]
mod tests;
