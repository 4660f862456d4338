use super::*;
use std::time::Duration;

fn parse(line: &str) -> Result<Option<ShellCommand>, Failure> {
    let known = KnownNames {
        members: owned(&["ana", "s60"]),
        objects: owned(&["calculator", "echo"]),
    };
    super::parse(line, &known)
}

fn parsed(line: &str) -> ShellCommand {
    parse(line).unwrap().unwrap()
}

fn call(line: &str) -> (String, String, UnparsedArguments) {
    match parsed(line) {
        ShellCommand::Call(call) => (call.object, call.method, call.arguments),
        other => panic!("{other:?}"),
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn every_command_can_be_given_and_helped_with() {
    for spec in SPECS {
        let words = match spec.name {
            "/msg" => "ana hello",
            "/say" => "quit",
            "/describe" => "echo",
            "/call" | "/submit" => "echo whoami",
            "/calculate" | "/text" | "/hash" => "method",
            "/submit-file" => "tasks.txt",
            "/cancel" => "7",
            _ => "",
        };
        parse(&format!("{} {words}", spec.name)).unwrap();
        let help = parsed(&format!("/help {}", spec.name.trim_start_matches('/')));
        let ShellCommand::Help { command } = help else {
            panic!("{help:?}")
        };
        assert_eq!(command.unwrap().name, spec.name);
        assert!(!spec.summary.is_empty());
    }
}

#[test]
fn calls_are_read_with_their_words() {
    let (object, method, arguments) = call(r#"/call echo echo data={"a": "b c"}"#);
    assert_eq!((&*object, &*method), ("echo", "echo"));
    let words = owned(&[r#"data={"a": "b c"}"#]);
    assert_eq!(arguments, UnparsedArguments::Words(words));
    let (object, method, arguments) = call("/calculate sort [3, 1, 2]");
    assert_eq!((&*object, &*method), ("calculator", "sort"));
    assert_eq!(arguments, UnparsedArguments::Values(owned(&["[3, 1, 2]"])));
}

#[test]
fn the_rest_of_the_line_is_the_text() {
    let (object, method, arguments) = call("/text  reverse   it's \"two  words\" ");
    assert_eq!((&*object, &*method), ("text", "reverse"));
    let text = r#"it's "two  words""#.to_owned();
    assert_eq!(arguments, UnparsedArguments::Text(text));
    let (_, _, arguments) = call("/hash sha256");
    assert_eq!(arguments, UnparsedArguments::Text(String::new()));
    match parsed("/msg ana don't [forget") {
        ShellCommand::Message { to, text } => {
            assert_eq!((&*to, &*text), ("ana", "don't [forget"));
        }
        other => panic!("{other:?}"),
    }
    match parsed("//quit") {
        ShellCommand::Say { text } => assert_eq!(text, "/quit"),
        other => panic!("{other:?}"),
    }
    match parsed("  hello, it's me ") {
        ShellCommand::Say { text } => assert_eq!(text, "hello, it's me"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_submission_has_the_options_of_the_command() {
    let line = "/submit --worker w2 --times 50 --delay 2s echo sleep ms=-1";
    let ShellCommand::Submit(submit) = parsed(line) else {
        panic!("another command")
    };
    assert_eq!(submit.times, Some(50));
    assert_eq!(submit.options.run.worker.as_deref(), Some("w2"));
    assert_eq!(submit.options.delay, Duration::from_secs(2));
    assert_eq!(submit.arguments, ["ms=-1"]);
    for wrong in [
        "/submit echo",
        "/submit --times 0 echo whoami",
        "/submit --times 2 --key k echo whoami",
        "/submit --tims 2 echo whoami",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_cannot_be_carried_out_is_told_with_a_hint() {
    for (line, sentence, hint) in [
        (
            "/worker",
            "unknown command '/worker'",
            "did you mean '/workers'?",
        ),
        ("/teapot", "unknown command '/teapot'", "see '/help'"),
        (
            "/help calclate",
            "unknown command '/calclate'",
            "did you mean '/calculate'?",
        ),
        (
            "/call echo",
            "/call needs more arguments",
            "usage: /call OBJECT METHOD [ARG=VALUE…]",
        ),
        (
            "/workers all",
            "/workers takes no further argument: 'all'",
            "usage: /workers",
        ),
        (
            "/msg ana",
            "/msg needs more arguments",
            "usage: /msg NAME TEXT…",
        ),
        (
            "/history few",
            "'few' is not a number of messages",
            "usage: /history [N]",
        ),
    ] {
        let failure = parse(line).unwrap_err();
        assert_eq!(failure.message.as_deref(), Some(sentence));
        assert_eq!(failure.hint.as_deref(), Some(hint));
    }
}

#[test]
fn blank_lines_ask_for_nothing() {
    assert!(parse("").unwrap().is_none());
    assert!(parse(" \t").unwrap().is_none());
}

#[test]
fn a_command_without_its_slash_is_not_said_and_a_sentence_is() {
    for (line, command) in [
        ("workrs", "workers"),
        ("worker", "workers"),
        ("lsit s60", "list"),
        ("mgs s60 my secret", "msg"),
        ("msgs60 secret", "msg"),
        ("sumbit calculator factorial 30", "submit"),
        ("calcualte factorial 5", "calculate"),
        ("descirbe calculator", "describe"),
        ("text reverse hello world", "text"),
        ("hash sha256 hello", "hash"),
        ("call echo sleep 3000", "call"),
        ("tasks list", "results"),
        ("exit", "quit"),
    ] {
        let failure = parse(line).unwrap_err();
        let expected = format!("did you mean '/{command}'? To send it to all: /say {line}");
        assert_eq!(failure.hint, Some(expected));
    }
    for line in [
        "who is there?",
        "list of things we need",
        "call me when you are ready",
        "text me later",
        "submit it today",
        "wait for me",
        "cancel the meeting",
    ] {
        let text = line.to_owned();
        assert_eq!(
            format!("{:?}", parsed(line)),
            format!("{:?}", ShellCommand::Say { text })
        );
    }
}
