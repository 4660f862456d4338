//! `pyroxene shell`: everything a client can do, from one prompt or one script.

mod catalog;
mod chat;
mod command;
mod complete;
mod editor;
mod screen;
mod session;
mod submitted;
mod submitting;
mod tally;
mod words;

use crate::{
    failure::{Exit, Failure},
    flags::ClientArguments,
    nameservers,
    table::wrapped,
    terminal::{self, TerminalModes},
    units::duration,
};
use catalog::Catalog;
use chat::ChatMembership;
use command::parse;
use editor::{Editor, EditorEvent, history_file};
use pyroxene_client::Client;
use pyroxene_common::interfaces::directory::ObjectFilter;
use screen::ShellScreen;
use session::{SessionFlow, ShellSession};
use std::{
    collections::BTreeSet,
    io::{self, IsTerminal},
    sync::Arc,
    time::Duration,
};
use submitted::SubmittedTasks;
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    signal::{
        ctrl_c,
        unix::{SignalKind, signal},
    },
};

/// List, call, submit and chat from one prompt
///
/// On a terminal lines are edited, completed with the Tab key and kept in a history. Otherwise each line of
/// standard input is a command; blank lines and lines that begin with # are skipped. /help lists the
/// commands.
///
/// A script continues after a command that fails. At its end it waits for the tasks that it has submitted.
/// The exit code is that of the first command or task that failed.
///
/// --json prints the same JSON as the command of that name with --json: one line for each command,
/// each message, and each task that has ended.
#[derive(Debug, clap::Args)]
pub(crate) struct ShellArguments {
    /// Your name in the chat [default: do not join the chat]
    #[arg(long = "as", value_name = "NAME", env = "PYROXENE_AS")]
    name: Option<String>,
    /// How long a call may take, all attempts together
    #[arg(long, value_name = "TIME", env = "PYROXENE_TIMEOUT", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) async fn run(arguments: ShellArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    match io::stdin().is_terminal() && io::stdout().is_terminal() {
        true => at_terminal(&arguments, client).await,
        false => script(&arguments, client).await,
    }
}

impl ShellArguments {
    fn session(
        &self,
        client: Client,
        screen: Arc<ShellScreen>,
        submitted: SubmittedTasks,
    ) -> ShellSession {
        ShellSession {
            client,
            json: self.client.json,
            timeout: self.timeout,
            screen,
            submitted,
            chat: None,
            object_names: BTreeSet::new(),
        }
    }

    /// Joins the chat, if a name is given.
    async fn join(&self, session: &mut ShellSession) -> Result<(), Failure> {
        if let Some(name) = &self.name {
            let joined = ChatMembership::join(&session.client, name, &session.screen, session.json);
            session.chat = Some(joined.await?);
        }
        Ok(())
    }
}

/// Runs the shell for a person at a terminal.
async fn at_terminal(arguments: &ShellArguments, client: Client) -> Result<(), Failure> {
    let modes = TerminalModes::now();
    let submitted = SubmittedTasks::new();
    let catalog = Catalog::new(client.clone(), Arc::clone(&submitted.ids));
    let prompt = format!("{}> ", arguments.name.as_deref().unwrap_or("pyroxene"));
    let (mut editor, printer) = Editor::start(prompt, catalog, history_file()).await?;
    let mut session = arguments.session(client, ShellScreen::terminal(printer), submitted);
    print_greeting(&mut session).await?;
    if let Err(failure) = arguments.join(&mut session).await {
        session.screen.report_failure(&failure);
    }
    let mut terminated = signal(SignalKind::terminate())
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot wait for signals: {error}")))?;
    loop {
        let read = {
            let _editing = session.screen.edit();
            tokio::select! {
                read = editor.read() => Some(read),
                _ = terminated.recv() => None,
            }
        };
        let line = match read {
            Some(EditorEvent::Line(line)) => line,
            Some(EditorEvent::Interrupted) => continue,
            Some(EditorEvent::End) => break,
            None => {
                modes.restore_from_editing();
                break;
            }
            Some(EditorEvent::Broken(why)) => {
                return Err(Failure::new(
                    Exit::Failed,
                    format!("cannot read a line: {why}"),
                ));
            }
        };
        let carried_out = tokio::select! {
            carried_out = carry_out(&mut session, &line) => carried_out,
            _ = ctrl_c() => {
                let failure = Failure::new(Exit::Failed, "interrupted");
                Err(failure.hint("tasks that were submitted continue; see '/results'"))
            }
            _ = terminated.recv() => Ok(SessionFlow::Quit),
        };
        match carried_out {
            Ok(SessionFlow::Continue) => {}
            Ok(SessionFlow::Quit) => break,
            // The output is closed.
            Err(failure) if failure.message.is_none() => return Err(failure),
            Err(failure) => session.screen.report_failure(&failure),
        }
    }
    if let Some(chat) = session.chat.take() {
        chat.leave().await;
    }
    match session.submitted.running() {
        0 => Ok(()),
        running => session.screen.print(&tasks_continue_text(running)),
    }
}

async fn carry_out(session: &mut ShellSession, line: &str) -> Result<SessionFlow, Failure> {
    match parse(line, &session.known_names())? {
        Some(command) => session.carry_out(command).await,
        None => Ok(SessionFlow::Continue),
    }
}

/// Prints the version and the numbers of workers and objects. If no name server answers, the shell continues:
/// one may answer later.
async fn print_greeting(session: &mut ShellSession) -> Result<(), Failure> {
    let looked = async {
        let workers = nameservers::workers(&session.client).await?.len();
        let objects = nameservers::list(&session.client, &ObjectFilter::default()).await?;
        let greeting = format!(
            "pyroxene {}: workers {workers}, objects {}; '/help' lists the commands",
            env!("CARGO_PKG_VERSION"),
            objects.len()
        );
        Ok((greeting, objects))
    };
    match looked.await {
        Ok((greeting, objects)) => {
            session.object_names = objects.into_iter().map(|object| object.name).collect();
            session
                .screen
                .print(&wrapped(&greeting, terminal::columns(), ""))
        }
        Err(failure) => {
            let failure: Failure = failure;
            session.screen.report_failure(&failure);
            Ok(())
        }
    }
}

/// Carries out the lines of standard input.
async fn script(arguments: &ShellArguments, client: Client) -> Result<(), Failure> {
    let mut session = arguments.session(client, ShellScreen::plain(), SubmittedTasks::new());
    arguments.join(&mut session).await?;
    let mut first = None;
    let mut lines = BufReader::new(stdin()).lines();
    let mut number = 0_u64;
    loop {
        number += 1;
        let place = format!("line {number}");
        let cannot = |error: io::Error| Failure::usage(format!("cannot read a command: {error}"));
        let line = match lines.next_line().await.map_err(cannot) {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(failure) => {
                record_failure(&session, &mut first, failure.with_context(&place));
                break;
            }
        };
        if line.starts_with('#') {
            continue;
        }
        let carried_out = carry_out(&mut session, &line).await;
        // Failures of tasks have been reported already.
        first = first.or(session.submitted.failures().into_iter().next());
        match carried_out {
            Ok(SessionFlow::Continue) => {}
            Ok(SessionFlow::Quit) => break,
            Err(failure) if failure.message.is_none() => return Err(failure),
            Err(failure) => record_failure(&session, &mut first, failure.with_context(&place)),
        }
    }
    let waited = tokio::select! {
        waited = session.submitted.wait() => waited.err(),
        _ = ctrl_c() => {
            let running = session.submitted.running();
            let failure = Failure::new(Exit::Failed, tasks_continue_text(running));
            session.screen.report_failure(&failure);
            Some(failure)
        }
    };
    if let Some(chat) = session.chat.take() {
        chat.leave().await;
    }
    match first.or(waited) {
        Some(failure) => Err(Failure::quiet(failure.exit)),
        None => Ok(()),
    }
}

/// Reports a failure at once, and keeps the first one for the end.
fn record_failure(session: &ShellSession, first: &mut Option<Failure>, failure: Failure) {
    session.screen.report_failure(&failure);
    first.get_or_insert(failure);
}

fn tasks_continue_text(running: usize) -> String {
    match running {
        1 => "a task continues; see 'pyroxene tasks list'".to_owned(),
        _ => format!("{running} tasks continue; see 'pyroxene tasks list'"),
    }
}
