use super::*;
use std::time::Duration;

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
    assert_eq!(submit.options.worker.as_deref(), Some("w2"));
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
