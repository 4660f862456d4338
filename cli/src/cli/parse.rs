//! Parses the command line and the environment into a command.

use super::{
    Cli,
    resolve::{ParseError, Resolved, append_flags, resolve},
};
use crate::{flags::YesOrNo, security::TOKEN_VARIABLE};
use clap::{
    ArgMatches, Command, CommandFactory, FromArgMatches,
    builder::{Resettable, TypedValueParser},
    error::ErrorKind,
    parser::ValueSource,
};
use pyroxene_common::identity::looks_like_token;
use std::{env, ffi::OsString};

/// The flags that may also be given before the command, because most commands have them.
pub(crate) const COMMON_FLAGS: [&str; 3] = ["--nameserver", "--context", "--json"];

/// Those of them that have a value.
const COMMON_FLAGS_WITH_VALUE: [&str; 2] = ["--nameserver", "--context"];

/// The flags whose environment variable must not be empty. A script that copies an unset variable would
/// otherwise run without the protection that it asks for.
const SECURITY_FLAGS: [&str; 12] = [
    "config",
    "context",
    "tls_cert",
    "tls_key",
    "tls_ca",
    "tls_client_auth",
    "users",
    "user",
    "token_file",
    "certificates",
    "ticket_life",
    "accounts_owner_rule",
];

/// The environment variable of `--json`.
pub(crate) const JSON_VARIABLE: &str = "PYROXENE_JSON";

/// Parses a command line. An empty variable counts as not set.
pub(crate) fn parse(words: Vec<OsString>) -> Result<Cli, ParseError> {
    let resolved = resolve_in(Cli::command(), words, |name| env::var_os(name))?;
    Ok(Cli::from_arg_matches(&resolved.matches)?)
}

/// Parses a command line for a command, also with the values of files.
pub(crate) fn resolve_in(
    command: Command,
    words: Vec<OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Resolved, ParseError> {
    let is_empty = |name: &str| variable(name).is_some_and(|value| value.is_empty());
    let filled = without_empty_variables(command.clone(), &is_empty);
    let resolved = resolve(filled, move_global_flags(words), &variable)?;
    if let Some(name) = empty_security_variable(&command, &resolved.matches, &is_empty) {
        let sentence = format!("{name} is empty; give it a value, or unset it");
        return Err(command
            .clone()
            .error(ErrorKind::InvalidValue, sentence)
            .into());
    }
    Ok(resolved)
}

/// Whether a token is on the command line. The flag `--user` and the command `users` are not checked here:
/// they report it themselves.
pub(crate) fn contains_token(words: &[OsString]) -> bool {
    if words.iter().any(|word| word == "users") {
        return false;
    }
    // The length may be off because of a typing mistake, but file names do not count.
    let is_token = |text: &str| looks_like_token(text) && (44..=50).contains(&text.trim().len());
    let mut before = "";
    words.iter().filter_map(|word| word.to_str()).any(|word| {
        let (flag, value) = word.split_once('=').unwrap_or((before, word));
        before = word;
        flag != "--user" && (is_token(word) || is_token(value))
    })
}

/// Whether the command line or the environment asks for JSON, even if the command line is invalid.
pub(crate) fn asks_for_json(words: &[OsString]) -> bool {
    let is_asked = words
        .iter()
        .take_while(|word| *word != "--")
        .any(|word| word == "--json");
    let variable = env::var_os(JSON_VARIABLE).unwrap_or_default();
    let in_variable = YesOrNo.parse_ref(&Command::new(""), None, &variable);
    is_asked || in_variable.unwrap_or(false)
}

/// Moves flags that are given before the command to the end of the command line, or in front of `--`.
fn move_global_flags(words: Vec<OsString>) -> Vec<OsString> {
    let mut words = words.into_iter().peekable();
    let mut moved: Vec<OsString> = words.next().into_iter().collect();
    let mut early = Vec::new();
    while let Some(word) = words.next_if(is_global_flag) {
        let takes_value = COMMON_FLAGS_WITH_VALUE.iter().any(|flag| word == *flag);
        early.push(word);
        if takes_value {
            early.extend(words.next());
        }
    }
    moved.extend(words);
    append_flags(moved, early)
}

fn is_global_flag(word: &OsString) -> bool {
    let Some(word) = word.to_str() else {
        return false;
    };
    let flag = word.split_once('=').map_or(word, |(flag, _)| flag);
    COMMON_FLAGS.contains(&flag)
}

/// The same command, without the environment variables that are empty.
fn without_empty_variables(command: Command, is_empty: &impl Fn(&str) -> bool) -> Command {
    command
        .mut_args(|argument| {
            let variable = argument.get_env().and_then(|name| name.to_str());
            match variable.is_some_and(is_empty) {
                true => argument.env(Resettable::Reset),
                false => argument,
            }
        })
        .mut_subcommands(|command| without_empty_variables(command, is_empty))
}

/// The first empty environment variable that would be used for a security flag.
fn empty_security_variable(
    command: &Command,
    matches: &ArgMatches,
    is_empty: &impl Fn(&str) -> bool,
) -> Option<String> {
    if let Some((name, matches)) = matches.subcommand() {
        let command = command.find_subcommand(name)?;
        return empty_security_variable(command, matches, is_empty);
    }
    // A command without the flag does not log in.
    let has_token_file = matches.try_contains_id("token_file");
    if has_token_file.is_ok_and(|is_given| !is_given) && is_empty(TOKEN_VARIABLE) {
        return Some(TOKEN_VARIABLE.to_owned());
    }
    command.get_arguments().find_map(|argument| {
        let id = argument.get_id().as_str();
        let name = argument.get_env()?.to_str()?;
        let is_used = SECURITY_FLAGS.contains(&id)
            && matches.value_source(id) != Some(ValueSource::CommandLine);
        (is_used && is_empty(name)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    fn moved(text: &str) -> String {
        let moved = move_global_flags(words(text));
        let moved: Vec<_> = moved.iter().map(|word| word.to_string_lossy()).collect();
        moved.join(" ")
    }

    #[test]
    fn a_token_is_noticed_where_none_is_wanted() {
        let token = format!("prx_{}", "A".repeat(43));
        for line in [
            "pyroxene whoami --token-file TOKEN",
            "pyroxene limits TOKEN",
            "pyroxene worker --name=TOKEN",
            "pyroxene call echo echo data=TOKEN",
        ] {
            assert!(
                contains_token(&words(&line.replace("TOKEN", &token))),
                "{line}"
            );
            assert!(!contains_token(&words(line)), "{line}");
        }
        // These commands report the token themselves, and do not repeat it either.
        for line in ["pyroxene list --user TOKEN", "pyroxene users add TOKEN"] {
            assert!(
                !contains_token(&words(&line.replace("TOKEN", &token))),
                "{line}"
            );
        }
    }

    #[test]
    fn flags_before_the_command_count_for_it() {
        assert_eq!(
            moved("pyroxene --nameserver a:1 --json tasks list --limit 3"),
            "pyroxene tasks list --limit 3 --nameserver a:1 --json"
        );
        assert_eq!(
            moved("pyroxene --nameserver=a:1 call o m -- -5"),
            "pyroxene call o m --nameserver=a:1 -- -5"
        );
        assert_eq!(
            moved("pyroxene --context prod list"),
            "pyroxene list --context prod"
        );
        for same in ["pyroxene", "pyroxene list --json", "pyroxene --help"] {
            assert_eq!(moved(same), same);
        }
        let parsed = parse(words("pyroxene --nameserver a:1 list")).unwrap();
        let cli::Command::List(list) = parsed.command else {
            panic!("another command");
        };
        assert_eq!(list.client.nameserver, "a:1");
        assert!(parse(words("pyroxene --nameserver a:1 certs init")).is_err());
        assert!(parse(words("pyroxene --nameserver")).is_err());
    }

    /// Parses a command line while one environment variable is empty.
    fn parse_with_empty(variable: &str, text: &str) -> Result<(), String> {
        let value = |name: &str| (name == variable).then(OsString::new);
        let resolved = resolve_in(Cli::command(), words(text), value);
        resolved.map(drop).map_err(|error| match error {
            ParseError::CommandLine(error) => error.to_string(),
            ParseError::Settings(failure) => failure.message.unwrap_or_default(),
        })
    }

    #[test]
    fn an_empty_variable_counts_as_none_unless_it_protects_something() {
        assert!(parse_with_empty("PYROXENE_TIMEOUT", "pyroxene list").is_ok());
        for variable in ["PYROXENE_TLS_CA", "PYROXENE_USER", "PYROXENE_TOKEN_FILE"] {
            let error = parse_with_empty(variable, "pyroxene list").unwrap_err();
            assert!(error.contains(&format!("{variable} is empty")), "{error}");
            assert!(parse_with_empty(variable, "pyroxene completions bash").is_ok());
        }
        let given = "pyroxene list --tls-ca ca.crt";
        assert!(parse_with_empty("PYROXENE_TLS_CA", given).is_ok());
        let given = "pyroxene list --user ana --token-file t";
        assert!(parse_with_empty("PYROXENE_TOKEN", given).is_ok());
        for (variable, command) in [
            ("PYROXENE_TOKEN", "list"),
            ("PYROXENE_TOKEN", "worker"),
            ("PYROXENE_ACCOUNTS_OWNER_RULE", "up"),
            ("PYROXENE_CERTIFICATES", "nameserver"),
            ("PYROXENE_TICKET_LIFE", "nameserver"),
            ("PYROXENE_CERTIFICATES", "up"),
            ("PYROXENE_ACCOUNTS_OWNER_RULE", "worker"),
        ] {
            let error = parse_with_empty(variable, &format!("pyroxene {command}")).unwrap_err();
            assert!(error.contains(&format!("{variable} is empty")), "{error}");
        }
    }

    #[test]
    fn a_variable_that_is_neither_yes_nor_no_is_an_error_that_names_it() {
        let cli = Cli::command();
        for (command, id) in [("nameserver", "insecure"), ("list", "json")] {
            let command = cli.find_subcommand(command).unwrap();
            let mut flags = command.get_arguments();
            let flag = flags.find(|flag| flag.get_id() == id).unwrap();
            let variable = flag.get_env().unwrap().to_str().unwrap();
            let parse = |value: &str| YesOrNo.parse_ref(command, Some(flag), value.as_ref());
            let error = parse("banana").unwrap_err().to_string();
            assert!(error.contains(variable), "{error}");
            assert!(parse("on").unwrap() && !parse("off").unwrap());
        }
    }
}
