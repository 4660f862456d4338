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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_fit_the_terminal() {
    let broker = Broker::start().workers(2).await;
    let why = "this message is longer than a line of a terminal, and has only words that are short";
    let submit = ["submit", "--delay", "1h", "echo", "fail", why];
    let id = broker.run(&submit).await.out().to_owned();
    broker
        .run(&["topic", "append", "door", "opened"])
        .await
        .out();
    for columns in [60, 80, 120] {
        for words in [
            &["workers"][..],
            &["list"],
            &["lookup", "echo"],
            &["ping"],
            &["whoami"],
            &["limits"],
            &["events"],
            &["top", "--once"],
            &["topic", "list"],
            &["tasks", "list"],
            &["tasks", "show", &id],
            &["describe", "calculator"],
        ] {
            let (terminal, _) = Terminal::of_width(columns, &broker, words);
            let shown = terminal.all().await;
            assert!(shown.lines().count() > 1, "{words:?} at {columns}: {shown}");
            for line in shown.lines() {
                let width = line.trim_end().chars().count();
                assert!(width <= columns.into(), "{words:?} at {columns}: {shown}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_load_is_shown_on_a_screen_that_is_cleared() {
    let broker = Broker::start().workers(1).await;
    let (top, _) = Terminal::start(&broker, &["top"]);
    top.shows("\u{1b}[H\u{1b}[2JWORKER").await;
    assert!(!top.shown_so_far().contains("\\u{1b}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_shows_who_comes_and_says_no_mistyped_command() {
    let broker = Broker::start().worker("w1", &["--objects", "chat"]).await;
    let (ana, _) = Terminal::start(&broker, &["chat", "--as", "ana"]);
    is_edited(&ana).await;
    let (mut bob, _) = Terminal::start(&broker, &["chat", "--as", "bob"]);
    is_edited(&bob).await;
    ana.shows("bob joined").await;
    bob.type_in("quit\r");
    bob.shows("not sent: did you mean /quit?").await;
    is_edited(&bob).await;
    // It fills two rows, which the message takes the place of.
    bob.type_in(&format!("{}\r", "long ".repeat(30)));
    bob.shows("\x1b[2A\r\x1b[J").await;
    ana.shows(": long long").await;
    bob.type_in("/quit\r");
    assert!(bob.ended().await.success());
    ana.shows("bob left").await;
    let shown = ana.shown_so_far();
    assert!(!shown.contains(": quit"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_says_no_command_that_lacks_its_slash() {
    let objects = ["--objects", "chat"];
    let broker = Broker::start().worker("w1", &objects).await;
    let script = "call calculator factorial 5\n/say help\n/history\n";
    let ran = broker.feed(&["shell", "--as", "ana"], script).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stderr.contains("hint: did you mean '/call'?"),
        "{ran:?}"
    );
    assert!(ran.stdout.ends_with("ana: help\n"), "{ran:?}");
    assert!(!ran.stdout.contains("factorial"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_takes_long_shows_that_it_goes_on() {
    let broker = Broker::start().workers(1).await;
    let (terminal, _) = Terminal::start(&broker, &["call", "echo", "sleep", "ms=2500"]);
    // The elapsed time, beside something that turns.
    terminal.shows(" 1s").await;
    terminal.shows("2500").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_told_of_the_wait_for_workers() {
    let broker = Broker::start().nameserver_flags(&["--settle", "1h"]).await;
    std::fs::write(broker.dir().join("numbers"), "3\n1\n2\n").unwrap();
    for words in [
        &["call", "teapot", "brew", "--timeout", "5s"][..],
        &["bench", "teapot", "brew", "--timeout", "5s"],
        &["sort", "--input", "numbers", "--patience", "5s"],
        &["chat", "--as", "ana"],
        &["shell", "--as", "ana"],
    ] {
        let (terminal, _) = Terminal::start(&broker, words);
        terminal.shows("the name server has just started").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_looks_like_a_private_message_is_not_said_to_everybody() {
    let broker = Broker::start().worker("w1", &["--objects", "chat"]).await;
    let (ana, _) = Terminal::start(&broker, &["chat", "--as", "ana"]);
    is_edited(&ana).await;
    for command in ["chat", "shell"] {
        let (mut bob, _) = Terminal::start(&broker, &[command, "--as", "bob"]);
        is_edited(&bob).await;
        ana.shows("bob joined").await;
        for line in ["mgs ana secret", "msgana secret", "lsit ana"] {
            bob.type_in(&format!("{line}\r"));
            bob.shows(&format!("/say {line}")).await;
            is_edited(&bob).await;
        }
        bob.type_in(&format!("list of things we need in the {command}\r"));
        ana.shows(&format!("list of things we need in the {command}"))
            .await;
        bob.type_in("/quit\r");
        assert!(bob.ended().await.success());
    }
    let shown = ana.shown_so_far();
    assert!(!shown.contains("secret"), "{shown}");
    assert!(!shown.contains("lsit"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_and_hints_are_broken_between_words() {
    let broker = Broker::start().workers(1).await;
    let words = ["call", "calculator", "factorial", "many"];
    let piped = broker.run(&words).await.stderr;
    let whoami = broker.run(&["whoami"]).await.stdout;
    for (words, piped) in [(&words[..], piped), (&["whoami"], whoami)] {
        let (terminal, _) = Terminal::of_width(40, &broker, words);
        let shown = terminal.all().await;
        assert!(
            shown
                .lines()
                .all(|line| line.trim_end().chars().count() <= 40),
            "{shown}"
        );
        // Every word is on one line. The port differs.
        let words = |text: &str| {
            let words = text.split_whitespace().map(str::to_owned);
            words
                .filter(|word| !word.starts_with("127."))
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&shown), words(&piped));
    }
}
