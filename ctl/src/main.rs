//! `rustcornctl`: looks at a running rustcorn master, and tells it what to do.
//!
//! | module | what it is |
//! |---|---|
//! | `cli` | the command line |
//! | `client` | the conversation |
//! | `text` | answers for people |
//! | `top` | the live view |

mod cli;
mod client;
mod text;
mod top;

use std::io::Write;
use std::process::ExitCode;

use rustcorn_control::{Command, Status, data};

use cli::{Action, Options};
use client::{Client, Trouble};

fn main() -> ExitCode {
    let options = match cli::parse(std::env::args_os(), std::env::var_os(cli::VARIABLE)) {
        Ok(options) => options,
        Err(usage) => return usage.report(),
    };
    let json = options.json;
    let outcome = match options.action {
        Action::Top(top) => top::run(&options, top),
        Action::Ask { command, until_gone } => ask(&options, command, until_gone),
    };
    let trouble = match outcome {
        Ok(code) => return ExitCode::from(code),
        Err(trouble) => trouble,
    };
    if json && !trouble.was_said {
        // One object on standard output, however it went.
        let said = client::as_reply(&trouble);
        let _ = std::io::stdout().write_all(&said); // where nobody can be told, the exit code still tells
    } else if !json {
        let _ = writeln!(std::io::stderr(), "Error: {trouble}"); // as above
    }
    ExitCode::from(trouble.exit_code)
}

/// One question, one answer.
fn ask(options: &Options, command: Command, until_gone: bool) -> Result<u8, Trouble> {
    let mut client = Client::connect(&options.socket, options.patience())?;
    let reply = client.ask(&command)?;
    if options.json {
        print(&reply.to_line())?;
    }
    let (Status::Ok, Some(data)) = (reply.status, reply.data) else {
        let error = reply.error.unwrap_or_else(|| "the server has answered nothing".to_owned());
        return Err(Trouble::server(error).said(options.json));
    };
    if until_gone {
        client.wait_for_end()?;
    }
    if !options.json {
        let text = match command {
            Command::Shutdown { .. } if until_gone => "the server has stopped\n".to_owned(),
            command => text::of(&command, data).map_err(Trouble::strange)?,
        };
        print(text.as_bytes())?;
    }
    Ok(0)
}

fn print(text: &[u8]) -> Result<(), Trouble> {
    match std::io::stdout().write_all(text).and_then(|()| std::io::stdout().flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Trouble::server(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()), // `| head` has seen enough
    }
}

/// Reads an answer's data.
fn read<T: serde::de::DeserializeOwned>(data: data::Value) -> Result<T, String> {
    serde_json::from_value(data).map_err(|error| error.to_string())
}
