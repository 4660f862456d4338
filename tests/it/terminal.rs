//! What people find at their terminal after a command, and while one runs.

use crate::harness::{Broker, Terminal};
use rustix::{process::Signal, termios::LocalModes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_is_left_as_it_was_found() {
    let broker = Broker::start().worker("w1", &["--objects", "chat"]).await;
    for command in ["shell", "chat"] {
        for end in [Some(Signal::TERM), None] {
            let (mut terminal, before) = Terminal::start(&broker, &[command, "--as", "ana"]);
            is_edited(&terminal).await;
            match end {
                Some(signal) => terminal.signal(signal),
                None => terminal.type_in("/quit\r"),
            }
            let status = terminal.ended().await;
            assert!(status.success(), "{command} {end:?}: {status}");
            assert_eq!(terminal.modes(), before, "{command} {end:?}");
        }
    }
}

/// Waits until a line can be typed.
async fn is_edited(terminal: &Terminal) {
    let is_raw = |modes: LocalModes| !modes.intersects(LocalModes::ECHO | LocalModes::ICANON);
    let what = "the command edits a line";
    terminal.has(what, |(_, _, modes)| is_raw(modes)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_waited_for_is_interrupted_and_the_shell_goes_on() {
    let broker = Broker::start().workers(1).await;
    let (mut terminal, before) = Terminal::start(&broker, &["shell"]);
    is_edited(&terminal).await;
    terminal.type_in("/submit --times 3 echo sleep ms=600000\r");
    // While there is a bar, a Ctrl-C leaves no mark in it.
    terminal
        .has("a bar is shown", |(_, _, modes)| {
            modes.contains(LocalModes::ECHO) && !modes.contains(LocalModes::ECHOCTL)
        })
        .await;
    terminal.shows("0/3").await;
    terminal.signal(Signal::INT);
    terminal.shows("interrupted").await;
    is_edited(&terminal).await;
    terminal.type_in("/calculate factorial 6\r");
    terminal.shows("720").await;
    terminal.type_in("/quit\r");
    assert!(terminal.ended().await.success());
    assert_eq!(terminal.modes(), before);
}
