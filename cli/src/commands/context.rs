//! `pyroxene context`: the brokers that client commands use.

use crate::{
    contexts::{ContextOptions, Contexts},
    failure::Failure,
    flags::YesOrNo,
    messages::note,
    output::{print, print_json, print_text},
    table::{labelled, table},
};
use clap::Subcommand;
use pyroxene_common::identity::looks_like_token;
use serde_json::{Map, Value, json};
use std::{
    env,
    path::{self, Path},
};

/// Keep the name servers, TLS and the login of a broker under a name
///
/// Every client command takes them from the context that --context or PYROXENE_CONTEXT names, or else from the one
/// that 'pyroxene context use' chose; '--context none' uses no context. Flags and variables override a context. Where
/// they name a name server that the context does not have, the context gives nothing, so its login goes to its own
/// broker alone. A context names the file of a token, and never has the token itself. Contexts are files in
/// $XDG_CONFIG_HOME/pyroxene/contexts (or ~/.config/pyroxene/contexts).
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct ContextCommandArguments {
    #[command(subcommand)]
    command: ContextCommand,
}

#[derive(Debug, Subcommand)]
enum ContextCommand {
    Add(ContextAddArguments),
    Use(ContextUseArguments),
    List(ContextListArguments),
    Show(ContextShowArguments),
    Remove(ContextRemoveArguments),
}

/// Add a context
///
/// Paths are kept as absolute ones. Nothing is connected to. --json prints {"added", "file"}.
#[derive(Debug, clap::Args)]
struct ContextAddArguments {
    /// The name: letters, digits, '.', '_' and '-'
    name: String,
    #[command(flatten)]
    options: ContextOptions,
    #[command(flatten)]
    output: ContextOutput,
}

/// Choose the context that commands use without --context
///
/// --json prints {"used"}, the name or null.
#[derive(Debug, clap::Args)]
struct ContextUseArguments {
    /// The context; without a name, none is used
    name: Option<String>,
    #[command(flatten)]
    output: ContextOutput,
}

/// List the contexts
///
/// --json prints [{"name", "used", "nameserver", "user"}]. "nameserver" and "user" may be null.
#[derive(Debug, clap::Args)]
struct ContextListArguments {
    #[command(flatten)]
    output: ContextOutput,
}

/// Show a context
///
/// --json prints {"name", "used", "file", "options": {"nameserver": "…", "tls-ca": "…", …}}.
#[derive(Debug, clap::Args)]
struct ContextShowArguments {
    /// The context [default: the one in use]
    name: Option<String>,
    #[command(flatten)]
    output: ContextOutput,
}

/// Remove a context
///
/// If it is in use, none is used afterwards. --json prints {"removed"}.
#[derive(Debug, clap::Args)]
struct ContextRemoveArguments {
    /// The context
    name: String,
    #[command(flatten)]
    output: ContextOutput,
}

#[derive(Debug, clap::Args)]
struct ContextOutput {
    /// Print the documented JSON
    #[arg(long, env = "PYROXENE_JSON", value_parser = YesOrNo)]
    json: bool,
}

impl ContextOutput {
    /// Prints what was done.
    fn done(&self, json: &Value, sentence: &str) -> Result<(), Failure> {
        match self.json {
            true => print_json(json),
            false => print_text(sentence),
        }
    }
}

pub(crate) fn run(arguments: ContextCommandArguments) -> Result<(), Failure> {
    let contexts = Contexts::of_user(&|name| env::var_os(name)).ok_or_else(Contexts::nowhere)?;
    match arguments.command {
        ContextCommand::Add(arguments) => add(&contexts, arguments),
        ContextCommand::Use(arguments) => {
            let name = arguments.name.as_deref();
            contexts.set_current(name)?;
            let sentence = match name {
                Some(name) => format!("using context '{name}'"),
                None => "using no context".to_owned(),
            };
            arguments.output.done(&json!({"used": name}), &sentence)
        }
        ContextCommand::List(arguments) => list(&contexts, &arguments.output),
        ContextCommand::Show(arguments) => show(&contexts, arguments),
        ContextCommand::Remove(arguments) => {
            let name = &arguments.name;
            contexts.remove(name)?;
            let sentence = format!("removed context '{name}'");
            arguments.output.done(&json!({"removed": name}), &sentence)
        }
    }
}

fn add(contexts: &Contexts, arguments: ContextAddArguments) -> Result<(), Failure> {
    let (name, options) = (arguments.name, arguments.options);
    if options.login.user.as_deref().is_some_and(looks_like_token) {
        let mixed_up = "--user has a token as its value, but needs the name of the user";
        return Err(Failure::usage(mixed_up).hint("give the token's file with --token-file FILE"));
    }
    contexts.add(&name, &text(&options)?)?;
    let file = contexts.file(&name);
    let sentence = format!("added context '{name}'; 'pyroxene context use {name}' chooses it");
    let json = json!({"added": name, "file": file.to_string_lossy()});
    arguments.output.done(&json, &sentence)
}

/// The options as the text of a context.
fn text(options: &ContextOptions) -> Result<String, Failure> {
    let mut settings = toml::Table::new();
    let texts = [
        ("nameserver", &options.nameserver),
        ("user", &options.login.user),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            settings.insert(key.to_owned(), text.as_str().into());
        }
    }
    let files = [
        ("tls-cert", &options.tls.tls_cert),
        ("tls-key", &options.tls.tls_key),
        ("tls-ca", &options.tls.tls_ca),
        ("token-file", &options.login.token_file),
    ];
    for (key, file) in files {
        if let Some(file) = file {
            settings.insert(key.to_owned(), absolute(file)?.into());
        }
    }
    Ok(settings.to_string())
}

/// The path from everywhere, as text.
fn absolute(file: &Path) -> Result<String, Failure> {
    let cannot = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("cannot keep the path {}: {why}", file.display()))
    };
    let absolute = path::absolute(file).map_err(|error| cannot(&error))?;
    let text = absolute.to_str().map(str::to_owned);
    text.ok_or_else(|| cannot(&"it is no valid Unicode"))
}

/// The options that a context gives, by the names of their flags.
fn options(contexts: &Contexts, name: &str) -> Result<Map<String, Value>, Failure> {
    let settings = contexts.read(name)?.settings;
    let pairs = settings.iter().filter_map(|setting| setting.pair());
    Ok(pairs
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect())
}

fn list(contexts: &Contexts, output: &ContextOutput) -> Result<(), Failure> {
    let current = contexts.current()?;
    let mut entries = Vec::new();
    let mut rows = Vec::new();
    for name in contexts.names()? {
        let options = options(contexts, &name)?;
        let is_used = current.as_ref() == Some(&name);
        let text = |key: &str| options.get(key).and_then(Value::as_str);
        let (nameserver, user) = (text("nameserver"), text("user"));
        entries.push(json!({
            "name": name, "used": is_used, "nameserver": nameserver, "user": user,
        }));
        let cell = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let mark = if is_used { "*" } else { "" };
        rows.push([name, mark.to_owned(), cell(nameserver), cell(user)]);
    }
    if output.json {
        return print_json(&entries);
    }
    if rows.is_empty() {
        note("there is no context; 'pyroxene context add' makes one");
        return Ok(());
    }
    print(&table(["NAME", "USED", "NAME SERVERS", "USER"], &rows))
}

fn show(contexts: &Contexts, arguments: ContextShowArguments) -> Result<(), Failure> {
    let current = contexts.current()?;
    let name = arguments.name.or_else(|| current.clone()).ok_or_else(|| {
        Failure::usage("no context is in use")
            .hint("name one, or choose one with 'pyroxene context use'")
    })?;
    let options = options(contexts, &name)?;
    let file = contexts.file(&name).to_string_lossy().into_owned();
    let is_used = current.as_ref() == Some(&name);
    if arguments.output.json {
        return print_json(&json!({
            "name": name, "used": is_used, "file": file, "options": options,
        }));
    }
    let pairs = options
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default().to_owned()));
    let rows = [("file", file)].into_iter().chain(pairs);
    print(&labelled("", &rows.collect::<Vec<_>>()))
}
