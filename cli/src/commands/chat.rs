//! `pyroxene chat`: a chat room, for a person at a terminal or for a script.

mod arrivals;
mod input;
mod room;
mod screen;

use crate::{
    daemon, failure::Failure, flags::ClientArguments, messages::note,
    nameservers::explain_unavailable, objects::with_wait_reported, terminal::TerminalModes,
};
pub(crate) use arrivals::report_arrivals as tell_comings;
use input::{ChatCommand, ChatInput};
use pyroxene_common::clean;
use pyroxene_objects::interfaces::chat::{Chat, Message};
pub(crate) use room::ChatRoom;
use screen::ChatScreen;
pub(crate) use screen::{message_json, time_of_day};
use std::{future::ready, time::Duration};
use tokio::{sync::watch, time::timeout};

/// Talk in the chat room
///
/// /list shows the members, /msg NAME TEXT sends a message to one member, /say TEXT sends one to all, /help
/// lists the commands, and /quit leaves the room. Any other line is sent to all. A line that begins with two
/// slashes is sent without the first one. On a terminal a line that looks like a command without its slash,
/// or like a mistyped one, is not sent, and members who join or leave are reported.
///
/// If standard input or output is not a terminal, each line of input is a command, and each message is
/// printed as one line: [HH:MM:SS] bob: text, or [HH:MM:SS] bob → ana: text if it is only for one member. At
/// the end of the input the command leaves the room, once all its messages are stored. --json prints each
/// message as {"sequence": 1, "at": "…", "from": "bob", "to": null, "text": "…"}.
#[derive(Debug, clap::Args)]
pub(crate) struct ChatArguments {
    /// Your name in the room [default: the user of --user]
    #[arg(long = "as", value_name = "NAME", env = "PYROXENE_AS")]
    name: Option<String>,
    /// How many earlier messages to show at the start
    #[arg(long, value_name = "N", env = "PYROXENE_HISTORY", default_value_t = 20, value_parser = clap::value_parser!(u32).range(..=500))]
    history: u32,
    #[command(flatten)]
    client: ClientArguments,
}

/// The object that hosts the room.
pub(crate) const OBJECT: &str = "chat";

/// How long to wait at the end until the last message that was sent has been received.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn run(arguments: ChatArguments) -> Result<(), Failure> {
    let user = arguments.client.login.user.as_ref();
    let Some(name) = arguments.name.as_ref().or(user) else {
        return Err(
            Failure::usage("there is no name for you in the room").hint("give one with --as NAME")
        );
    };
    let client = arguments.client.client()?;
    // Fails at once if no worker hosts the room; later calls wait for a worker.
    let found = client.proxy::<Chat>(OBJECT);
    if let Err(error) = with_wait_reported(&client, OBJECT, note, found).await {
        return Err(explain_unavailable(&client, OBJECT, error.into()).await);
    }
    let mut signals = daemon::catch_signals()?;
    let (room, welcome) = ChatRoom::enter(client.weak_object::<Chat>(OBJECT), name.clone()).await?;
    let modes = TerminalModes::now();
    let (input, screen) = ChatInput::open(arguments.client.json)?;
    if arguments.history > 0 {
        let history = room.history(welcome.head + 1, arguments.history).await?;
        screen.show(&history)?;
    }
    screen.greet(&welcome.members)?;
    let seen = watch::Sender::new(welcome.head);
    let tell = |sentence: String| {
        screen.note(&sentence);
        ready(())
    };
    let (outcome, is_editing) = tokio::select! {
        never = arrivals::report_arrivals(&room, welcome.members, tell), if screen.is_terminal() => match never {},
        outcome = show_messages(&room, &screen, &seen) => (outcome, true),
        // The last line of input was read, so nothing is being edited.
        outcome = run_input(&room, &screen, input, &seen) => (outcome, false),
        () = signals.next() => (Ok(()), true),
    };
    if is_editing && screen.is_terminal() {
        modes.restore_from_editing();
    }
    room.leave().await;
    outcome
}

/// Shows messages until they cannot be received any more.
async fn show_messages(
    room: &ChatRoom,
    screen: &ChatScreen,
    seen: &watch::Sender<u64>,
) -> Result<(), Failure> {
    loop {
        let after = *seen.borrow();
        let received = room
            .receive(after, || screen.note("the room is unavailable; waiting"))
            .await?;
        screen.show(&received.messages)?;
        seen.send_replace(received.next);
    }
}

/// Carries out the user's commands until the end of the input.
async fn run_input(
    room: &ChatRoom,
    screen: &ChatScreen,
    mut input: ChatInput,
    seen: &watch::Sender<u64>,
) -> Result<(), Failure> {
    let (mut last, mut failed) = (0, None);
    while let Some(line) = input.line().await? {
        let wish = match screen.is_terminal() {
            true => input::read_typed(&line, room.names()),
            false => input::read(&line),
        };
        let done = match wish {
            ChatCommand::Blank => Ok(()),
            ChatCommand::Quit => break,
            ChatCommand::List => match room.members().await {
                Ok(members) => screen.list(&members),
                Err(failure) => Err(failure),
            },
            ChatCommand::Help => screen.help(),
            ChatCommand::Say { to, text } => room.say(to, text).await.map(|sent| {
                last = sent.sequence;
                if let (false, Some(to)) = (sent.present, to) {
                    screen.note(&format!(
                        "{to} is not here; the message is stored until they join"
                    ));
                }
            }),
            ChatCommand::Invalid(sentence) => Err(Failure::usage(sentence)),
        };
        if let Err(failure) = done {
            screen.fail(&failure)?;
            failed = Some(failure.exit);
        }
    }
    // The last message that was sent should be shown too.
    let mut seen = seen.subscribe();
    let _ = timeout(CATCH_UP_TIMEOUT, seen.wait_for(|seen| *seen >= last)).await;
    match failed {
        // On a terminal the user has already seen the failure.
        Some(exit) if !screen.is_terminal() => Err(Failure::quiet(exit)),
        _ => Ok(()),
    }
}

/// A message as one line.
pub(crate) fn message_line(message: &Message, at: &str) -> String {
    format!(
        "[{at}] {}: {}",
        sender_text(message),
        clean::line(&message.text)
    )
}

/// The sender of a message, and its receiver if it has one, as part of a line.
fn sender_text(message: &Message) -> String {
    let from = clean::line(&message.from);
    match &message.to {
        None => from.into_owned(),
        Some(to) => format!("{from} → {}", clean::line(to)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_is_in_it() {
        let mut message = Message {
            sequence: 1,
            at_ms: 0,
            from: "bob".to_owned(),
            to: None,
            text: "größer\n[12:00:00] ana: no\u{1b}[2J".to_owned(),
        };
        assert_eq!(
            message_line(&message, "12:00:01"),
            "[12:00:01] bob: größer\\n[12:00:00] ana: no\\u{1b}[2J"
        );
        message.to = Some("ana".to_owned());
        message.text = "hi".to_owned();
        assert_eq!(
            message_line(&message, "12:00:01"),
            "[12:00:01] bob → ana: hi"
        );
        message.from = "b\u{202e}ob\n".to_owned();
        let forged = message_line(&message, "12:00:01");
        assert_eq!(forged, r"[12:00:01] b\u{202e}ob\n → ana: hi");
    }
}
