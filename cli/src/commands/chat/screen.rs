//! Shows messages: above the prompt of a terminal, or as lines.

use super::{message_line, sender_text};
use crate::{
    failure::{Exit, Failure},
    messages::note,
    output::{Output, to_json},
    table::wrapped,
    terminal,
};
use jiff::{Timestamp, tz::TimeZone};
use pyroxene_common::clean;
use pyroxene_objects::interfaces::chat::Message;
use rustyline::ExternalPrinter;
use serde::Serialize;
use serde_json::json;
use std::sync::{Mutex, PoisonError};

/// The place where messages are shown.
pub(super) enum ChatScreen {
    /// One line for each message, as JSON if `json` is set.
    Lines {
        json: bool,
    },
    Terminal(Mutex<Box<dyn ExternalPrinter + Send>>),
}

/// A message as `--json` prints it.
#[derive(Serialize)]
pub(crate) struct ChatMessageJson<'m> {
    sequence: u64,
    at: String,
    from: &'m str,
    to: Option<&'m str>,
    text: &'m str,
}

/// The commands that can be typed.
const COMMANDS: &str = "/list  /msg NAME TEXT  /say TEXT  /help  /quit";

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// The colour of messages to a single member.
const MAGENTA: &str = "\x1b[35m";

impl ChatScreen {
    pub(super) fn lines(json: bool) -> Self {
        Self::Lines { json }
    }

    pub(super) fn terminal(printer: Box<dyn ExternalPrinter + Send>) -> Self {
        Self::Terminal(Mutex::new(printer))
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// Shows messages.
    pub(super) fn show(&self, messages: &[Message]) -> Result<(), Failure> {
        if messages.is_empty() {
            return Ok(());
        }
        match self {
            Self::Lines { json } => {
                let mut output = Output::new();
                for message in messages {
                    match json {
                        true => output.line(&to_json(&message_json(message))?)?,
                        false => {
                            output.line(&message_line(message, &time_of_day(message.at_ms)))?
                        }
                    }
                }
                output.flush()
            }
            Self::Terminal(_) => {
                for message in messages {
                    self.print(&coloured(message))?;
                }
                Ok(())
            }
        }
    }

    /// Shows the members and the commands to a person at a terminal.
    pub(super) fn greet(&self, members: &[String]) -> Result<(), Failure> {
        match self.is_terminal() {
            true => {
                self.list(members)?;
                self.help()
            }
            false => Ok(()),
        }
    }

    /// Shows the commands.
    pub(super) fn help(&self) -> Result<(), Failure> {
        match self {
            Self::Terminal(_) => self.print(&reply(DIM, COMMANDS)),
            Self::Lines { .. } => {
                note(COMMANDS);
                Ok(())
            }
        }
    }

    /// Shows the members.
    pub(super) fn list(&self, members: &[String]) -> Result<(), Failure> {
        let sentence = format!("members: {}", members.join(", "));
        let sentence = clean::line(&sentence);
        match self {
            Self::Terminal(_) => self.print(&reply(DIM, &sentence)),
            Self::Lines { json } => {
                let mut output = Output::new();
                match json {
                    true => output.line(&to_json(&json!({ "members": members }))?)?,
                    false => output.line(&sentence)?,
                }
                output.flush()
            }
        }
    }

    /// Shows a note, which is not a chat message.
    pub(super) fn note(&self, sentence: &str) {
        match self {
            // If the terminal cannot be written to, there is no other place for the note.
            Self::Terminal(_) => {
                let sentence = clean::line(sentence);
                drop(self.print(&reply(DIM, &sentence)));
            }
            Self::Lines { .. } => note(sentence),
        }
    }

    /// Shows why a line failed.
    pub(super) fn fail(&self, failure: &Failure) -> Result<(), Failure> {
        match (self, &failure.message) {
            (Self::Terminal(_), Some(sentence)) => {
                let sentence = clean::line(sentence);
                self.print(&reply(RED, &sentence))
            }
            _ => {
                failure.report();
                Ok(())
            }
        }
    }

    /// Prints a text on a terminal. Its parts have been cleaned before; the colours in it are ours.
    fn print(&self, text: &str) -> Result<(), Failure> {
        let Self::Terminal(printer) = self else {
            return Ok(());
        };
        let mut printer = printer.lock().unwrap_or_else(PoisonError::into_inner);
        printer.print(format!("{text}\n")).map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("cannot write to the terminal: {error}"),
            )
        })
    }
}

/// A sentence of this program, in a colour, broken between words.
fn reply(colour: &str, sentence: &str) -> String {
    let sentence = wrapped(sentence, terminal::columns(), "  ");
    format!("{colour}{sentence}{PLAIN}")
}

pub(crate) fn message_json(message: &Message) -> ChatMessageJson<'_> {
    ChatMessageJson {
        sequence: message.sequence,
        at: time(message.at_ms).map_or_else(String::new, |time| format!("{time:.3}")),
        from: &message.from,
        to: message.to.as_deref(),
        text: &message.text,
    }
}

fn time(at_ms: u64) -> Option<Timestamp> {
    let at_ms = i64::try_from(at_ms).ok()?;
    Timestamp::from_millisecond(at_ms).ok()
}

/// The local time of day.
pub(crate) fn time_of_day(at_ms: u64) -> String {
    let here = |time: Timestamp| time.to_zoned(TimeZone::system());
    let shown = time(at_ms).map(|time| here(time).strftime("%H:%M:%S").to_string());
    shown.unwrap_or_else(|| "??:??:??".to_owned())
}

/// A message as a coloured line.
fn coloured(message: &Message) -> String {
    let (at, who) = (time_of_day(message.at_ms), sender_text(message));
    let colour = match message.to {
        Some(_) => MAGENTA,
        None => "",
    };
    let text = clean::line(&message.text);
    format!("{DIM}[{at}]{PLAIN} {colour}{BOLD}{who}{PLAIN}{colour}: {text}{PLAIN}")
}
