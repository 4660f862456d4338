//! Carries out the commands of the shell.

use super::{
    chat::ChatMembership,
    command::{CommandSpec, SPECS, ShellCall, ShellCommand, UnparsedArguments},
    screen::ShellScreen,
    submitted::SubmittedTasks,
};
use crate::{
    arguments::{ArgumentSource, ArgumentValues, MethodSignature},
    commands::{self, describe, list, workers},
    failure::Failure,
    mistyped::KnownNames,
    nameservers,
    objects::ObjectLookup,
    output::to_json,
    table::wrapped,
    terminal,
};
use pyroxene_client::Client;
use pyroxene_common::{clean, interfaces::directory::ObjectFilter};
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, fs, io, sync::Arc, time::Duration};

/// The state that commands work with.
pub(super) struct ShellSession {
    pub(super) client: Client,
    /// Whether output is JSON.
    pub(super) json: bool,
    /// How long a call may take.
    pub(super) timeout: Duration,
    pub(super) screen: Arc<ShellScreen>,
    pub(super) submitted: SubmittedTasks,
    /// `None` without a name, or if joining the chat failed.
    pub(super) chat: Option<ChatMembership>,
    /// The names of the objects that were listed.
    pub(super) object_names: BTreeSet<String>,
}

/// Whether the shell continues after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionFlow {
    Continue,
    Quit,
}

impl ShellSession {
    /// The names that tell a command without its slash from a sentence.
    pub(super) fn known_names(&self) -> KnownNames {
        /// The objects that workers host unless they are told otherwise, if none have been listed yet.
        const USUAL: [&str; 7] = [
            "accounts",
            "calculator",
            "chat",
            "counter",
            "echo",
            "hash",
            "text",
        ];
        let chat = self.chat.as_ref();
        let listed = self.object_names.iter().cloned();
        KnownNames {
            members: chat.map(ChatMembership::names).unwrap_or_default(),
            objects: listed.chain(USUAL.map(str::to_owned)).collect(),
        }
    }

    /// Carries out a command.
    pub(super) async fn carry_out(
        &mut self,
        command: ShellCommand,
    ) -> Result<SessionFlow, Failure> {
        match command {
            ShellCommand::Members => self.members().await?,
            ShellCommand::Message { to, text } => self.message_member(&to, &text).await?,
            ShellCommand::Say { text } => drop(self.chat()?.say(None, &text).await?),
            ShellCommand::History { count } => self.history(count).await?,
            ShellCommand::Workers => self.workers().await?,
            ShellCommand::Objects { prefix } => self.objects(prefix).await?,
            ShellCommand::Describe { object } => self.describe(&object).await?,
            ShellCommand::Call(call) => self.call(&call).await?,
            ShellCommand::Submit(submit) => self.submit(*submit).await?,
            ShellCommand::SubmitFile(file) => self.submit_file(file).await?,
            ShellCommand::Results { ids } => self.results(ids).await?,
            ShellCommand::Cancel { ids } => self.cancel(&ids).await?,
            ShellCommand::Wait => self.submitted.wait().await?,
            ShellCommand::Help { command } => {
                self.screen.print(&help(command, terminal::columns()))?
            }
            ShellCommand::Quit => return Ok(SessionFlow::Quit),
        }
        Ok(SessionFlow::Continue)
    }

    fn chat(&self) -> Result<&ChatMembership, Failure> {
        let nobody = || {
            Failure::usage("you are not in the chat").hint(
                "start the shell with --as NAME to chat; commands begin with a slash, see '/help'",
            )
        };
        self.chat.as_ref().ok_or_else(nobody)
    }

    async fn members(&self) -> Result<(), Failure> {
        let members = self.chat()?.members().await?;
        match self.json {
            true => self.screen.print(&to_json(&json!({"members": members}))?),
            false => {
                let lines: Vec<_> = members.iter().map(|name| clean::line(name)).collect();
                self.screen.print(&lines.join("\n"))
            }
        }
    }

    async fn message_member(&self, to: &str, text: &str) -> Result<(), Failure> {
        let sent = self.chat()?.say(Some(to), text).await?;
        match sent.present || self.json {
            true => Ok(()),
            false => {
                let note = format!("-- {to} is not here; the message is stored until they join");
                self.screen.print(&note)
            }
        }
    }

    async fn history(&self, count: Option<u32>) -> Result<(), Failure> {
        let lines = self.chat()?.history(count).await?;
        match lines.is_empty() {
            true => Ok(()),
            false => self.screen.print(&lines.join("\n")),
        }
    }

    async fn workers(&self) -> Result<(), Failure> {
        let found = nameservers::workers(&self.client).await?;
        self.screen.print(&match self.json {
            true => to_json(&workers::to_json(&found))?,
            false => workers::to_table(&found),
        })
    }

    async fn objects(&mut self, prefix: Option<String>) -> Result<(), Failure> {
        let filter = ObjectFilter {
            prefix,
            ..ObjectFilter::default()
        };
        let objects = nameservers::list(&self.client, &filter).await?;
        self.object_names
            .extend(objects.iter().map(|object| object.name.clone()));
        self.screen.print(&match self.json {
            true => to_json(&objects.iter().map(list::to_json).collect::<Vec<_>>())?,
            false => list::to_table(&objects),
        })
    }

    async fn describe(&self, object: &str) -> Result<(), Failure> {
        let description =
            describe::description(&self.client, object, self.timeout, ObjectLookup::default())
                .await?;
        self.screen.print(&match self.json {
            true => to_json(&description)?,
            false => describe::to_text(object, &description),
        })
    }

    async fn call(&self, asked: &ShellCall) -> Result<(), Failure> {
        let (object, method) = (&asked.object, &asked.method);
        let read =
            |signature: MethodSignature<'_>| read_values(signature, method, &asked.arguments);
        let call = commands::call::MethodCall {
            object,
            method,
            timeout: self.timeout,
            lookup: ObjectLookup::default(),
        };
        let found = call.find(&self.client).await?;
        if call.signature(&found)?.may_stream() {
            let output = commands::call::StreamOutput {
                json: self.json,
                stdin: Err(STDIN_IS_TAKEN),
                show: &|write| self.screen.write(write),
            };
            let words = stream_words(method, &asked.arguments)?;
            return call.stream_on(&self.client, &found, words, &output).await;
        }
        let called = call.make_on(&self.client, &found, read).await?;
        match self.json {
            true => self.screen.print(&called.to_json()?),
            false => self.screen.print_result(&called.answered.response),
        }
    }
}

/// Why no argument is read from standard input.
const STDIN_IS_TAKEN: &str = "it is where the shell reads its commands";

/// The arguments of a method that takes or answers streams.
fn stream_words<'a>(
    method: &str,
    arguments: &'a UnparsedArguments,
) -> Result<&'a [String], Failure> {
    match arguments {
        UnparsedArguments::Words(words) | UnparsedArguments::Values(words) => Ok(words),
        UnparsedArguments::Text(_) => Err(Failure::usage(format!(
            "{method} does not take one text; use '/call'"
        ))),
    }
}

/// Reads the arguments of a call, once its parameters are known.
fn read_values(
    signature: MethodSignature<'_>,
    method: &str,
    arguments: &UnparsedArguments,
) -> Result<ArgumentValues, Failure> {
    match arguments {
        UnparsedArguments::Words(words) => signature.read_words(words, read_file),
        UnparsedArguments::Values(words) => match as_list(signature, words) {
            Some(list) => signature.read_words(&[list], read_file),
            None => signature.read_words(words, read_file),
        },
        UnparsedArguments::Text(text) => match signature.parameters() {
            [only] if signature.takes_string(only) => {
                let value = Value::String(text.clone());
                Ok(Map::from_iter([(only.name.clone(), value)]).into())
            }
            _ => Err(Failure::usage(format!(
                "{method} does not take one text; use '/call'"
            ))),
        },
    }
}

/// Joins numbers to a list if the method's only parameter takes one: `1 2 3.5` becomes `[1,2,3.5]`.
fn as_list(signature: MethodSignature<'_>, words: &[String]) -> Option<String> {
    let [only] = signature.parameters() else {
        return None;
    };
    let is_number = |word: &String| serde_json::from_str::<serde_json::Number>(word).is_ok();
    let is_list = signature.takes_list(only) && words.iter().all(is_number) && !words.is_empty();
    is_list.then(|| format!("[{}]", words.join(",")))
}

/// The content of a file that an argument names.
pub(super) fn read_file(source: ArgumentSource<'_>) -> io::Result<Vec<u8>> {
    match source {
        ArgumentSource::File(path) => fs::read(path),
        ArgumentSource::Stdin => Err(io::Error::other(STDIN_IS_TAKEN)),
    }
}

/// The help: of all commands, or of one. Its lines are no wider than `limit`.
fn help(command: Option<&CommandSpec>, limit: Option<usize>) -> String {
    if let Some(spec) = command {
        let usage = format!("{} {}", spec.name, spec.usage);
        let text = format!("{}\n    {}", usage.trim_end(), spec.summary);
        return wrapped(&text, limit, "    ");
    }
    /// The column of the summaries. A longer usage has its summary on the next line.
    const COLUMN: usize = 40;
    /// The same in a terminal that is too narrow for both.
    const NARROW: usize = 4;
    /// The least width of the summaries beside the usages.
    const SUMMARY: usize = 36;
    let column = match limit {
        Some(limit) if limit < COLUMN + SUMMARY => NARROW,
        _ => COLUMN,
    };
    let indent = " ".repeat(column);
    let mut lines = Vec::new();
    for spec in SPECS {
        let usage = format!("{} {}", spec.name, spec.usage);
        let usage = usage.trim_end();
        let summary = format!("{indent}{}", spec.summary);
        let summary = wrapped(&summary, limit, &indent);
        match usage.chars().count() < column {
            true => {
                let beside = summary.get(column..).unwrap_or_default();
                lines.push(format!("{usage:<column$}{beside}"));
            }
            false => lines.extend([wrapped(usage, limit, "    "), summary]),
        }
    }
    for sentence in [
        "",
        "A line that does not begin with a slash is sent to all members of the chat.",
        "Words are quoted as in a shell; JSON in brackets needs no quotes: /calculate sort [3, 1, 2]",
        "@FILE as a value stands for the content of the file.",
    ] {
        lines.push(wrapped(sentence, limit, "  "));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::interface::{Description, Interface};
    use pyroxene_objects::interfaces::{calculator::Calculator, text::Text};

    fn values(
        description: &Description,
        method: &str,
        arguments: &UnparsedArguments,
    ) -> Result<Value, String> {
        let signature = MethodSignature::find(description, "it", method).unwrap();
        read_values(signature, method, arguments)
            .map(|arguments| serde_json::to_value(arguments).unwrap())
            .map_err(|failure| failure.message.unwrap())
    }

    #[test]
    fn numbers_alone_are_a_list_where_one_is_wanted() {
        let read = |method: &str, words: &[&str]| {
            let words = words.iter().map(|&word| word.to_owned()).collect();
            values(
                &Calculator::describe(),
                method,
                &UnparsedArguments::Values(words),
            )
        };
        let expected = json!({"values": [1, -2, 3.5]});
        assert_eq!(read("sum", &["1", "-2", "3.5"]), Ok(expected.clone()));
        assert_eq!(read("sum", &["[1, -2, 3.5]"]), Ok(expected.clone()));
        assert_eq!(read("sum", &["values=[1,-2,3.5]"]), Ok(expected));
        assert_eq!(read("sum", &["7"]), Ok(json!({"values": [7]})));
        assert_eq!(read("factorial", &["30"]), Ok(json!({"n": 30})));
        assert!(read("factorial", &["1", "2"]).is_err());
        assert!(read("sum", &["1", "two"]).is_err());
        assert!(read("sum", &[]).is_err());
    }

    #[test]
    fn a_text_is_taken_as_it_stands() {
        let text = UnparsedArguments::Text(r#"@"two  words" 12"#.to_owned());
        let expected = json!({"text": r#"@"two  words" 12"#});
        assert_eq!(values(&Text::describe(), "reverse", &text), Ok(expected));
        let refused = values(&Calculator::describe(), "sum", &text).unwrap_err();
        assert_eq!(refused, "sum does not take one text; use '/call'");
    }

    #[test]
    fn help_tells_every_command() {
        let text = help(None, None);
        for spec in SPECS {
            assert!(text.contains(spec.name) && text.contains(spec.summary));
            assert!(help(Some(spec), None).contains(spec.summary));
        }
        assert!(
            text.lines().all(|line| line.chars().count() <= 125),
            "{text}"
        );
    }

    #[test]
    fn help_is_broken_between_words() {
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        for limit in [40, 60, 80, 100] {
            for command in SPECS.iter().map(Some).chain([None]) {
                let text = help(command, Some(limit));
                let width = text.lines().map(|line| line.chars().count()).max();
                assert!(width <= Some(limit), "{limit}: {text}");
                assert_eq!(words(&text), words(&help(command, None)));
            }
        }
    }
}
