//! The lines of input, from a person at a terminal or from a script.

use super::screen::ChatScreen;
use crate::{
    failure::{Exit, Failure},
    mistyped::{CommandForm, FirstOperand, KnownNames, intended_command},
    terminal,
};
use rustyline::{DefaultEditor, error::ReadlineError};
use std::{
    io::{self, IsTerminal, Write},
    thread,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines, Stdin},
    sync::mpsc,
};
use unicode_width::UnicodeWidthStr;

/// The prompt of a terminal.
const PROMPT: &str = "> ";

/// Lines of input.
pub(super) enum ChatInput {
    Script(Lines<BufReader<Stdin>>),
    Person(mpsc::Receiver<Result<String, String>>),
}

/// A line of input, parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ChatCommand<'l> {
    Blank,
    Quit,
    List,
    Help,
    Say {
        to: Option<&'l str>,
        text: &'l str,
    },
    /// An invalid command, with the reason.
    Invalid(String),
}

/// The commands.
const COMMANDS: [CommandForm; 5] = [
    CommandForm {
        name: "list",
        operand: FirstOperand::Nothing,
    },
    CommandForm {
        name: "msg",
        operand: FirstOperand::Receiver,
    },
    CommandForm {
        name: "say",
        operand: FirstOperand::Text,
    },
    CommandForm {
        name: "help",
        operand: FirstOperand::Nothing,
    },
    CommandForm {
        name: "quit",
        operand: FirstOperand::Nothing,
    },
];

/// Parses a line that a person typed. A command without its slash, or a mistyped one, is not sent to all, but
/// an error. `members` are the members of the room.
pub(super) fn read_typed(line: &str, members: Vec<String>) -> ChatCommand<'_> {
    let wish = read(line);
    if !matches!(wish, ChatCommand::Say { to: None, .. }) || line.trim().starts_with('/') {
        return wish;
    }
    let known = KnownNames {
        members,
        objects: Vec::new(),
    };
    match intended_command(line, &COMMANDS, &known) {
        Some(command) => ChatCommand::Invalid(format!(
            "not sent: did you mean /{command}? To send it to all: /say {}",
            line.trim()
        )),
        None => wish,
    }
}

/// Parses a line of input.
pub(super) fn read(line: &str) -> ChatCommand<'_> {
    let line = line.trim();
    if line.is_empty() {
        return ChatCommand::Blank;
    }
    let Some(command) = line.strip_prefix('/') else {
        let (to, text) = (None, line);
        return ChatCommand::Say { to, text };
    };
    if command.starts_with('/') {
        let (to, text) = (None, command);
        return ChatCommand::Say { to, text };
    }
    let (word, rest) = split(command);
    match (word, split(rest)) {
        ("quit", ("", _)) => ChatCommand::Quit,
        ("list", ("", _)) => ChatCommand::List,
        ("help", ("", _)) => ChatCommand::Help,
        ("say", _) if !rest.is_empty() => {
            let (to, text) = (None, rest);
            ChatCommand::Say { to, text }
        }
        ("say", _) => ChatCommand::Invalid("usage: /say TEXT".to_owned()),
        ("msg", (to, text)) if !to.is_empty() && !text.is_empty() => {
            ChatCommand::Say { to: Some(to), text }
        }
        ("msg", _) => ChatCommand::Invalid("usage: /msg NAME TEXT".to_owned()),
        ("quit" | "list" | "help", _) => {
            ChatCommand::Invalid(format!("/{word} takes no arguments"))
        }
        _ => ChatCommand::Invalid(format!(
            "unknown command /{word}; the commands are /list, /msg NAME TEXT, /say TEXT, /help and /quit"
        )),
    }
}

/// The first word of a text, and the rest.
fn split(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}

impl ChatInput {
    /// Opens the input, and the screen that fits it.
    pub(super) fn open(json: bool) -> Result<(Self, ChatScreen), Failure> {
        let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        if json || !is_terminal {
            let lines = BufReader::new(tokio::io::stdin()).lines();
            return Ok((Self::Script(lines), ChatScreen::lines(json)));
        }
        let cannot = |error: ReadlineError| {
            let sentence = format!("cannot use the terminal: {error}");
            Failure::new(Exit::Failed, sentence)
        };
        let mut editor = DefaultEditor::new().map_err(cannot)?;
        let printer = editor.create_external_printer().map_err(cannot)?;
        let (sender, lines) = mpsc::channel(1);
        // A separate thread, which does not keep the process from ending.
        thread::spawn(move || {
            loop {
                let line = match editor.readline(PROMPT) {
                    Ok(line) => Ok(line),
                    Err(ReadlineError::Eof | ReadlineError::Interrupted) => return,
                    Err(error) => Err(error.to_string()),
                };
                if let Ok(line) = &line {
                    // The message itself is shown in its place.
                    erase(line);
                    let _ = editor.add_history_entry(line);
                }
                let is_last = line
                    .as_ref()
                    .map_or(true, |line| read(line) == ChatCommand::Quit);
                if sender.blocking_send(line).is_err() || is_last {
                    return;
                }
            }
        });
        Ok((Self::Person(lines), ChatScreen::terminal(Box::new(printer))))
    }

    /// The next line; `None` at the end.
    pub(super) async fn line(&mut self) -> Result<Option<String>, Failure> {
        let line = match self {
            Self::Script(lines) => lines.next_line().await.map_err(|error| error.to_string()),
            Self::Person(lines) => lines.recv().await.transpose(),
        };
        line.map_err(|error| {
            let sentence = format!("cannot read standard input: {error}");
            Failure::new(Exit::Failed, sentence)
        })
    }
}

/// Erases the line that was just typed from the screen.
fn erase(line: &str) {
    /// The usual width of terminals that do not report one.
    const USUAL: usize = 80;
    let rows = rows(line, terminal::columns().unwrap_or(USUAL));
    let mut stdout = io::stdout().lock();
    let _ = write!(stdout, "\x1b[{rows}A\r\x1b[J");
    let _ = stdout.flush();
}

/// The number of rows that the prompt and a line fill. If the last row is full, the next one, with the
/// cursor, counts too.
fn rows(line: &str, columns: usize) -> usize {
    (PROMPT.width() + line.width()) / columns.max(1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_command_is_said_to_all() {
        let said = |text| ChatCommand::Say { to: None, text };
        assert_eq!(read(" hello  there "), said("hello  there"));
        assert_eq!(read("//quit"), said("/quit"));
        assert_eq!(read("  "), ChatCommand::Blank);
    }

    fn typed(line: &str) -> ChatCommand<'_> {
        read_typed(line, vec!["s60".to_owned(), "Bob".to_owned()])
    }

    #[test]
    fn a_command_that_lacks_its_slash_is_not_said_to_everybody() {
        for line in [
            "quit",
            " list ",
            "msg bob hi",
            "help",
            "mgs s60 secret",
            "msgbob hi",
            "exit",
        ] {
            assert!(matches!(typed(line), ChatCommand::Invalid(_)), "{line}");
            // A line of a script is sent unchanged.
            assert!(matches!(read(line), ChatCommand::Say { .. }), "{line}");
        }
        let said = |text| ChatCommand::Say { to: None, text };
        assert_eq!(typed("/say quit"), said("quit"));
        assert_eq!(typed("//quit"), said("/quit"));
        assert_eq!(typed("quite right"), said("quite right"));
        let sentence = "list of things we need";
        assert_eq!(typed(sentence), said(sentence));
        assert_eq!(typed("/quit"), ChatCommand::Quit);
        let refused = ChatCommand::Invalid(
            "not sent: did you mean /msg? To send it to all: /say mgs bob hi".to_owned(),
        );
        assert_eq!(typed("mgs bob hi"), refused);
    }

    #[test]
    fn a_line_fills_as_many_rows_as_it_is_wide() {
        assert_eq!(rows("", 10), 1);
        assert_eq!(rows("1234567", 10), 1);
        assert_eq!(rows("12345678", 10), 2);
        assert_eq!(rows("123456789", 10), 2);
        assert_eq!(rows("日本日本", 10), 2);
    }

    #[test]
    fn commands_are_read() {
        assert_eq!(read("/list"), ChatCommand::List);
        assert_eq!(read("/help"), ChatCommand::Help);
        assert_eq!(read("/quit "), ChatCommand::Quit);
        let (to, text) = (Some("bob"), "how are  you");
        assert_eq!(read("/msg bob how are  you"), ChatCommand::Say { to, text });
        for wrong in [
            "/msg",
            "/msg bob",
            "/msg  ",
            "/quit now",
            "/say",
            "/dance",
            "/",
        ] {
            assert!(matches!(read(wrong), ChatCommand::Invalid(_)), "{wrong}");
        }
    }
}
