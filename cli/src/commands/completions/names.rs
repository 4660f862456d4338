//! Requests the names of objects and methods while the user waits for a word to be completed.

use crate::{cli::resolve_in, flags::ClientArguments, nameservers::list};
use clap::{CommandFactory, FromArgMatches, Parser};
use clap_complete::CompletionCandidate;
use pyroxene_client::{Client, context_within};
use pyroxene_common::{clean, interfaces::directory::ObjectFilter};
use std::{
    env,
    ffi::{OsStr, OsString},
    time::Duration,
};
use tokio::{runtime::Builder, time::timeout};

/// The longest time that the user waits for a completion.
const COMPLETION_TIMEOUT: Duration = Duration::from_millis(800);

/// The names of objects that begin with `current`.
pub(crate) fn objects(current: &OsStr) -> Vec<CompletionCandidate> {
    beginning_with(current, async |client: Client| {
        let filter = ObjectFilter::default();
        let objects = list(&client, &filter).await.unwrap_or_default();
        objects.into_iter().map(|object| object.name).collect()
    })
}

/// The methods that begin with `current`, of the object that stands before it on the command line.
pub(crate) fn methods(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(object) = object_in(&words()) else {
        return Vec::new();
    };
    beginning_with(current, async |client: Client| {
        let context = context_within(COMPLETION_TIMEOUT);
        let Ok(found) = client.dynamic(&object, context).await else {
            return Vec::new();
        };
        let methods = found.description().methods.iter();
        methods.map(|method| method.name.clone()).collect()
    })
}

fn beginning_with(
    current: &OsStr,
    names: impl AsyncFnOnce(Client) -> Vec<String>,
) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else {
        return Vec::new();
    };
    let names = client().and_then(|client| {
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        let names = runtime.block_on(async { timeout(COMPLETION_TIMEOUT, names(client)).await });
        names.ok()
    });
    let names = names.unwrap_or_default().into_iter();
    names
        .filter(|name| name.starts_with(current) && clean::is_word(name))
        .map(CompletionCandidate::new)
        .collect()
}

/// The words of the command line that is being completed.
fn words() -> Vec<OsString> {
    let words = env::args_os().skip_while(|word| word != "--");
    words.skip(1).collect()
}

/// Parses the flags of client commands at any position.
#[derive(Debug, Parser)]
struct ClientFlags {
    #[command(flatten)]
    client: ClientArguments,
}

/// Makes a client from the flags that are on the command line so far, and the environment.
fn client() -> Option<Client> {
    let flags = CommandLineParts::of(&words()).flags;
    let words = [OsString::new()].into_iter().chain(flags).collect();
    let resolved = resolve_in(ClientFlags::command(), words, |name| env::var_os(name)).ok()?;
    let mut probe = ClientFlags::from_arg_matches(&resolved.matches).ok()?;
    let login = &mut probe.client.login;
    if login.token_file.is_none() && env::var_os("PYROXENE_TOKEN").is_none() {
        // A completion must not ask for a token.
        login.user = None;
    }
    probe.client.client().ok()
}

/// The object's name in `pyroxene call OBJECT …`: the second word that is not a flag.
fn object_in(words: &[OsString]) -> Option<String> {
    CommandLineParts::of(words).plain.into_iter().nth(1)
}

/// A command line, in parts.
#[derive(Default)]
struct CommandLineParts {
    /// The flags of client commands, with their values.
    flags: Vec<OsString>,
    /// The words that are not flags, from the command on.
    plain: Vec<String>,
}

impl CommandLineParts {
    fn of(words: &[OsString]) -> Self {
        let mut parts = Self::default();
        let command = ClientFlags::command();
        let mut words = words.iter().skip(1).filter_map(|word| word.to_str());
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--") else {
                if !word.starts_with('-') {
                    parts.plain.push(word.to_owned());
                }
                continue;
            };
            let (name, value) = flag
                .split_once('=')
                .map_or((flag, None), |(n, v)| (n, Some(v)));
            let known = command
                .get_arguments()
                .find(|known| known.get_long() == Some(name));
            // Flags of a single command mostly have a value, and stand after its method.
            let takes_value = known.is_none_or(|known| known.get_action().takes_values());
            let behind = if takes_value && value.is_none() {
                words.next()
            } else {
                None
            };
            if known.is_some() {
                parts.flags.push(word.into());
                parts.flags.extend(behind.map(OsString::from));
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_is_the_second_word_that_is_no_flag() {
        let object = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            object_in(&words)
        };
        assert_eq!(object("pyroxene call calc fac").as_deref(), Some("calc"));
        let flags = "pyroxene --nameserver a:1 call --json --timeout=1s calc";
        assert_eq!(object(flags).as_deref(), Some("calc"));
        assert_eq!(object("pyroxene call"), None);
        let words = [
            "pyroxene",
            "call",
            "--nameserver",
            "a:1",
            "--timeout",
            "1s",
            "--json",
            "x",
        ];
        let parts = CommandLineParts::of(&words.map(OsString::from));
        assert_eq!(parts.flags, ["--nameserver", "a:1", "--json"]);
    }
}
