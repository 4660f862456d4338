//! The commands of the shell: their list, and how a line is parsed.

use super::words::split;
use crate::{
    commands::submit::SubmitOptions,
    failure::{Failure, from_clap},
    mistyped::{CommandForm, FirstOperand, KnownNames, intended_command},
    nearest::nearest,
};
use clap::Parser;
use pyroxene_common::interface::Interface;
use pyroxene_objects::interfaces::{calculator::Calculator, hash::Hash, text::Text};

/// The description of a command.
#[derive(Debug)]
pub(super) struct CommandSpec {
    pub(super) name: &'static str,
    /// Its operands, for help.
    pub(super) usage: &'static str,
    /// Its purpose, in one line.
    pub(super) summary: &'static str,
    /// The kind of each operand, for completion. The last kind also applies to all further words.
    pub(super) operands: &'static [Operand],
}

/// The kind of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// The name of an object.
    Object,
    /// A method of the object that is named before, or of this object.
    Method(Option<&'static str>),
    /// Arguments of that method: `NAME=VALUE`, or values only.
    Arguments,
    /// A task that was submitted in this shell.
    Task,
    /// A member of the chat.
    Member,
    /// A command of the shell.
    Command,
    /// A file.
    File,
    /// Any text.
    Text,
}

/// Every command, in the order in which help lists them.
pub(super) const SPECS: &[CommandSpec] = &[
    CommandSpec {
        name: "/list",
        usage: "",
        summary: "list the members of the chat",
        operands: &[],
    },
    CommandSpec {
        name: "/msg",
        usage: "NAME TEXT…",
        summary: "send a message to one member; a line that is not a command is sent to all",
        operands: &[Operand::Member, Operand::Text],
    },
    CommandSpec {
        name: "/say",
        usage: "TEXT…",
        summary: "send a message to all, even if it looks like a command",
        operands: &[Operand::Text],
    },
    CommandSpec {
        name: "/history",
        usage: "[N]",
        summary: "show the last N messages, or the last 20",
        operands: &[],
    },
    CommandSpec {
        name: "/workers",
        usage: "",
        summary: "list the live workers and their load",
        operands: &[],
    },
    CommandSpec {
        name: "/objects",
        usage: "[PREFIX]",
        summary: "list the objects and the workers that host them",
        operands: &[Operand::Object],
    },
    CommandSpec {
        name: "/describe",
        usage: "OBJECT",
        summary: "show the methods of an object",
        operands: &[Operand::Object],
    },
    CommandSpec {
        name: "/call",
        usage: "OBJECT METHOD [ARG=VALUE…]",
        summary: "call a method",
        operands: &[Operand::Object, Operand::Method(None), Operand::Arguments],
    },
    CommandSpec {
        name: "/calculate",
        usage: "METHOD [VALUE…]",
        summary: "call the calculator: /calculate factorial 30, /calculate sum 1 2 3.5",
        operands: &[Operand::Method(Some("calculator")), Operand::Arguments],
    },
    CommandSpec {
        name: "/text",
        usage: "METHOD TEXT…",
        summary: "call text with the rest of the line: /text reverse hello world",
        operands: &[Operand::Method(Some("text")), Operand::Text],
    },
    CommandSpec {
        name: "/hash",
        usage: "METHOD TEXT…",
        summary: "call hash with the rest of the line: /hash sha256 hello world",
        operands: &[Operand::Method(Some("hash")), Operand::Text],
    },
    CommandSpec {
        name: "/submit",
        usage: "[--worker NAME] [--times N] [--quiet] [OPTION…] OBJECT METHOD [ARG=VALUE…]",
        summary: "submit a task, or N equal ones; the options are those of 'pyroxene submit'",
        operands: &[Operand::Object, Operand::Method(None), Operand::Arguments],
    },
    CommandSpec {
        name: "/submit-file",
        usage: "[--quiet] FILE",
        summary: "submit a task for each line of a file: OBJECT METHOD [ARG=VALUE…]",
        operands: &[Operand::File],
    },
    CommandSpec {
        name: "/results",
        usage: "[ID…]",
        summary: "show the outcome of these tasks, or of all that were submitted here",
        operands: &[Operand::Task],
    },
    CommandSpec {
        name: "/cancel",
        usage: "ID…",
        summary: "cancel tasks",
        operands: &[Operand::Task],
    },
    CommandSpec {
        name: "/wait",
        usage: "",
        summary: "wait until every task that was submitted here has ended",
        operands: &[],
    },
    CommandSpec {
        name: "/help",
        usage: "[COMMAND]",
        summary: "show this list, or one command",
        operands: &[Operand::Command],
    },
    CommandSpec {
        name: "/quit",
        usage: "",
        summary: "end the shell; tasks continue",
        operands: &[],
    },
];

/// The command of this name, with its slash.
pub(super) fn spec(name: &str) -> Option<&'static CommandSpec> {
    SPECS.iter().find(|spec| spec.name == name)
}

/// A line, parsed.
#[derive(Debug)]
pub(super) enum ShellCommand {
    Members,
    Message {
        to: String,
        text: String,
    },
    Say {
        text: String,
    },
    History {
        count: Option<u32>,
    },
    Workers,
    Objects {
        prefix: Option<String>,
    },
    Describe {
        object: String,
    },
    Call(ShellCall),
    Submit(Box<ShellSubmit>),
    SubmitFile(ShellSubmitFile),
    Results {
        ids: Vec<String>,
    },
    Cancel {
        ids: Vec<String>,
    },
    Wait,
    Help {
        command: Option<&'static CommandSpec>,
    },
    Quit,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShellCall {
    pub(super) object: String,
    pub(super) method: String,
    pub(super) arguments: UnparsedArguments,
}

/// The arguments of a call, before the method's parameters are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UnparsedArguments {
    /// The arguments as `pyroxene call` takes them.
    Words(Vec<String>),
    /// The same, but values without names are one list if the method's only parameter takes a list.
    Values(Vec<String>),
    /// The value of the method's only parameter, unchanged.
    Text(String),
}

/// `/submit`.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, name = "/submit", disable_help_flag = true)]
pub(super) struct ShellSubmit {
    pub(super) object: String,
    pub(super) method: String,
    #[arg(value_name = "ARG=VALUE", allow_negative_numbers = true)]
    pub(super) arguments: Vec<String>,
    /// Submit this number of equal tasks
    #[arg(long, value_name = "N", conflicts_with = "key", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) times: Option<u32>,
    /// Print only failures, and a summary
    #[arg(long)]
    pub(super) quiet: bool,
    #[command(flatten)]
    pub(super) options: SubmitOptions,
}

impl ShellSubmit {
    /// Parses the words after the command.
    pub(super) fn read(words: &[String]) -> Result<Self, Failure> {
        Self::try_parse_from(words).map_err(|error| from_clap(&error))
    }
}

/// `/submit-file`.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, name = "/submit-file", disable_help_flag = true)]
pub(super) struct ShellSubmitFile {
    pub(super) file: String,
    /// Print only failures, and a summary
    #[arg(long)]
    pub(super) quiet: bool,
}

/// The commands as a line without a slash may mean them.
fn forms() -> Vec<CommandForm> {
    let methods = |object| {
        let description = match object {
            Some("calculator") => Calculator::describe(),
            Some("text") => Text::describe(),
            Some("hash") => Hash::describe(),
            _ => return FirstOperand::Nothing,
        };
        let methods = description.methods.into_iter();
        FirstOperand::Method(methods.map(|method| method.name).collect())
    };
    let form = |spec: &CommandSpec| CommandForm {
        name: spec.name.trim_start_matches('/'),
        operand: match spec.operands.first() {
            None | Some(Operand::Arguments) => FirstOperand::Nothing,
            Some(Operand::Object) => FirstOperand::Object,
            Some(Operand::Method(object)) => methods(*object),
            Some(Operand::Task) => FirstOperand::Task,
            Some(Operand::Member) => FirstOperand::Receiver,
            Some(Operand::Command) => FirstOperand::Command,
            Some(Operand::File) => FirstOperand::File,
            Some(Operand::Text) => FirstOperand::Text,
        },
    };
    SPECS.iter().map(form).collect()
}

/// Parses a line; `None` if it is blank. `known` are the names that tell a command without its slash from a
/// sentence.
pub(super) fn parse(line: &str, known: &KnownNames) -> Result<Option<ShellCommand>, Failure> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(None);
    }
    // A line with two slashes is a message that begins with one slash.
    if !line.starts_with('/') || line.starts_with("//") {
        let text = line.strip_prefix('/').unwrap_or(line).to_owned();
        let intended = match line.starts_with('/') {
            true => None,
            false => intended_command(line, &forms(), known),
        };
        if let Some(command) = intended {
            let sentence = format!("'{line}' was not sent: it looks like a command");
            let hint = format!("did you mean '/{command}'? To send it to all: /say {line}");
            return Err(Failure::usage(sentence).hint(hint));
        }
        return Ok(Some(ShellCommand::Say { text }));
    }
    let (name, rest) = first_word(line);
    let Some(spec) = spec(name) else {
        return Err(unknown(name));
    };
    command(spec, rest).map(Some)
}

fn command(spec: &'static CommandSpec, rest: &str) -> Result<ShellCommand, Failure> {
    let words = || Operands::read(spec, rest);
    Ok(match spec.name {
        "/list" => words()?.none(ShellCommand::Members)?,
        "/msg" => {
            let (to, text) = first_word(rest);
            require(spec, &[to, text])?;
            let (to, text) = (to.to_owned(), text.to_owned());
            ShellCommand::Message { to, text }
        }
        "/say" => {
            require(spec, &[rest])?;
            let text = rest.to_owned();
            ShellCommand::Say { text }
        }
        "/history" => ShellCommand::History {
            count: words()?.number()?,
        },
        "/workers" => words()?.none(ShellCommand::Workers)?,
        "/objects" => ShellCommand::Objects {
            prefix: words()?.optional()?,
        },
        "/describe" => {
            let mut words = words()?;
            let object = words.next()?;
            words.none(ShellCommand::Describe { object })?
        }
        "/call" => {
            let mut words = words()?;
            ShellCommand::Call(ShellCall {
                object: words.next()?,
                method: words.next()?,
                arguments: UnparsedArguments::Words(words.rest()),
            })
        }
        "/calculate" => {
            let mut words = words()?;
            ShellCommand::Call(ShellCall {
                object: "calculator".to_owned(),
                method: words.next()?,
                arguments: UnparsedArguments::Values(words.rest()),
            })
        }
        "/text" | "/hash" => {
            let (method, text) = first_word(rest);
            require(spec, &[method])?;
            ShellCommand::Call(ShellCall {
                object: spec.name.trim_start_matches('/').to_owned(),
                method: method.to_owned(),
                arguments: UnparsedArguments::Text(text.to_owned()),
            })
        }
        "/submit" => ShellCommand::Submit(Box::new(ShellSubmit::read(&words()?.rest())?)),
        "/submit-file" => {
            let read = ShellSubmitFile::try_parse_from(words()?.rest());
            ShellCommand::SubmitFile(read.map_err(|error| from_clap(&error))?)
        }
        "/results" => ShellCommand::Results {
            ids: words()?.rest(),
        },
        "/cancel" => {
            let mut words = words()?;
            let mut ids = vec![words.next()?];
            ids.extend(words.rest());
            ShellCommand::Cancel { ids }
        }
        "/wait" => words()?.none(ShellCommand::Wait)?,
        "/help" => ShellCommand::Help {
            command: words()?.optional()?.map(|name| find(&name)).transpose()?,
        },
        "/quit" => words()?.none(ShellCommand::Quit)?,
        other => return Err(unknown(other)),
    })
}

/// A command by its name, with or without the slash.
fn find(name: &str) -> Result<&'static CommandSpec, Failure> {
    let slashed = format!("/{}", name.trim_start_matches('/'));
    spec(&slashed).ok_or_else(|| unknown(&slashed))
}

fn unknown(name: &str) -> Failure {
    let failure = Failure::usage(format!("unknown command '{name}'"));
    match nearest(name, SPECS.iter().map(|spec| spec.name)) {
        Some(known) => failure.hint(format!("did you mean '{known}'?")),
        None => failure.hint("see '/help'"),
    }
}

/// The first word of a text and the rest, both without the blanks around them.
fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

fn require(spec: &CommandSpec, words: &[&str]) -> Result<(), Failure> {
    match words.iter().any(|word| word.is_empty()) {
        true => Err(wrong(spec, format!("{} needs more arguments", spec.name))),
        false => Ok(()),
    }
}

fn wrong(spec: &CommandSpec, sentence: String) -> Failure {
    let usage = format!("usage: {} {}", spec.name, spec.usage);
    Failure::usage(sentence).hint(usage.trim_end())
}

/// The words after a command, taken one by one.
struct Operands {
    spec: &'static CommandSpec,
    words: std::vec::IntoIter<String>,
}

impl Operands {
    fn read(spec: &'static CommandSpec, rest: &str) -> Result<Self, Failure> {
        let words = split(rest)?.into_iter();
        Ok(Self { spec, words })
    }

    fn next(&mut self) -> Result<String, Failure> {
        let missing = || format!("{} needs more arguments", self.spec.name);
        self.words.next().ok_or_else(|| wrong(self.spec, missing()))
    }

    fn optional(&mut self) -> Result<Option<String>, Failure> {
        let word = self.words.next();
        self.none(word)
    }

    fn number(&mut self) -> Result<Option<u32>, Failure> {
        let spec = self.spec;
        let parse = |word: String| {
            let number = word.parse().ok().filter(|number| *number > 0);
            number.ok_or_else(|| wrong(spec, format!("'{word}' is not a number of messages")))
        };
        self.optional()?.map(parse).transpose()
    }

    fn rest(self) -> Vec<String> {
        self.words.collect()
    }

    /// Returns the command if no words are left.
    fn none<T>(&mut self, command: T) -> Result<T, Failure> {
        let name = self.spec.name;
        match self.words.next() {
            None => Ok(command),
            Some(word) => Err(wrong(
                self.spec,
                format!("{name} takes no further argument: '{word}'"),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
