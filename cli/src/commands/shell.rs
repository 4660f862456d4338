//! `pyroxene shell`: everything a client can do, from one prompt or one script.

mod catalog;
mod chat;
mod command;
mod complete;
mod editor;
mod screen;
mod session;
mod submitting;
mod tally;
mod words;

use crate::{
    cli::{ClientArguments, duration},
    failure::{Exit, Failure},
    nameservers,
    terminal::Modes,
};
use catalog::Catalog;
use chat::Membership;
use command::parse;
use editor::{Editor, Read, history_file};
use pyroxene_client::Client;
use pyroxene_common::interfaces::directory::Filter;
use screen::Screen;
use session::{Next, Session};
use std::{
    io::{self, IsTerminal},
    sync::Arc,
    time::Duration,
};
use submitting::Submitted;
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
/// --json prints what the command of the same name prints with --json: one line for each command,
/// each message, and each task that has ended.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Your name in the chat [default: do not join the chat]
    #[arg(long = "as", value_name = "NAME", env = "PYROXENE_AS")]
    name: Option<String>,
    /// How long a call may take, all attempts together
    #[arg(long, value_name = "TIME", env = "PYROXENE_TIMEOUT", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = arguments.client.client_for_tasks()?;
    match io::stdin().is_terminal() && io::stdout().is_terminal() {
        true => at_terminal(&arguments, client).await,
        false => script(&arguments, client).await,
    }
}

impl Arguments {
    fn session(&self, client: Client, screen: Arc<Screen>, submitted: Submitted) -> Session {
        Session {
            client,
            json: self.client.json,
            timeout: self.timeout,
            screen,
            submitted,
            chat: None,
        }
    }

    /// Joins the chat, if a name is given.
    async fn join(&self, session: &mut Session) -> Result<(), Failure> {
        if let Some(name) = &self.name {
            let joined = Membership::join(&session.client, name, &session.screen, session.json);
            session.chat = Some(joined.await?);
        }
        Ok(())
    }
}

/// Runs the shell for a person at a terminal.
async fn at_terminal(arguments: &Arguments, client: Client) -> Result<(), Failure> {
    let modes = Modes::now();
    let submitted = Submitted::new();
    let catalog = Catalog::new(client.clone(), Arc::clone(&submitted.ids));
    let prompt = format!("{}> ", arguments.name.as_deref().unwrap_or("pyroxene"));
    let (mut editor, printer) = Editor::start(prompt, catalog, history_file()).await?;
    let mut session = arguments.session(client, Screen::terminal(printer), submitted);
    greet(&session).await?;
    if let Err(failure) = arguments.join(&mut session).await {
        session.screen.complain(&failure);
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
            Some(Read::Line(line)) => line,
            Some(Read::Interrupted) => continue,
            Some(Read::End) => break,
            None => {
                modes.restore_from_editing();
                break;
            }
            Some(Read::Broken(why)) => {
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
            _ = terminated.recv() => Ok(Next::Quit),
        };
        match carried_out {
            Ok(Next::GoOn) => {}
            Ok(Next::Quit) => break,
            // The output is closed.
            Err(failure) if failure.sentence.is_none() => return Err(failure),
            Err(failure) => session.screen.complain(&failure),
        }
    }
    if let Some(chat) = session.chat.take() {
        chat.leave().await;
    }
    match session.submitted.running() {
        0 => Ok(()),
        running => session.screen.print(&goes_on(running)),
    }
}

async fn carry_out(session: &mut Session, line: &str) -> Result<Next, Failure> {
    match parse(line)? {
        Some(command) => session.carry_out(command).await,
        None => Ok(Next::GoOn),
    }
}

/// Prints the version and the numbers of workers and objects. If no name server answers, the shell continues:
/// one may answer later.
async fn greet(session: &Session) -> Result<(), Failure> {
    let looked = async {
        let workers = nameservers::workers(&session.client).await?.len();
        let objects = nameservers::list(&session.client, &Filter::default()).await?;
        Ok(format!(
            "pyroxene {}: workers {workers}, objects {}; '/help' lists the commands",
            env!("CARGO_PKG_VERSION"),
            objects.len()
        ))
    };
    match looked.await {
        Ok(greeting) => session.screen.print(&greeting),
        Err(failure) => {
            let failure: Failure = failure;
            session.screen.complain(&failure);
            Ok(())
        }
    }
}

/// Carries out the lines of standard input.
async fn script(arguments: &Arguments, client: Client) -> Result<(), Failure> {
    let mut session = arguments.session(client, Screen::plain(), Submitted::new());
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
                note(&session, &mut first, failure.at(&place));
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
            Ok(Next::GoOn) => {}
            Ok(Next::Quit) => break,
            Err(failure) if failure.sentence.is_none() => return Err(failure),
            Err(failure) => note(&session, &mut first, failure.at(&place)),
        }
    }
    let waited = tokio::select! {
        waited = session.submitted.wait() => waited.err(),
        _ = ctrl_c() => {
            let running = session.submitted.running();
            let failure = Failure::new(Exit::Failed, goes_on(running));
            session.screen.complain(&failure);
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
fn note(session: &Session, first: &mut Option<Failure>, failure: Failure) {
    session.screen.complain(&failure);
    first.get_or_insert(failure);
}

fn goes_on(running: usize) -> String {
    match running {
        1 => "a task continues; see 'pyroxene tasks list'".to_owned(),
        _ => format!("{running} tasks continue; see 'pyroxene tasks list'"),
    }
}
