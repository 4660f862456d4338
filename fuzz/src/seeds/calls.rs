//! Calls of the built-in interfaces and their answers, as JSON and encoded.

use super::Seeds;
use crate::targets::erased_interfaces::{BUILT_IN_INTERFACES, ErasedInterface};

/// Calls: a name, the interface, the method and its arguments.
const CALLS: &[(&str, &str, &str, &str)] = &[
    (
        "login",
        "pyroxene.Access",
        "login",
        r#"{"user": "ana", "holder": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "signature": [1, 2, 255]}"#,
    ),
    (
        "transfer",
        "pyroxene.Accounts",
        "transfer",
        r#"{"from": "ana", "to": "bob", "amount": 12.50, "request_id": "r-1"}"#,
    ),
    (
        "sort",
        "pyroxene.Calculator",
        "sort",
        r#"{"values": [3, -1.5e300, 0.1, -0.0]}"#,
    ),
    (
        "multiply",
        "pyroxene.Calculator",
        "matrix_multiply",
        r#"{"a": [[1, 2], [3, 4]], "b": [[0.5], [2]]}"#,
    ),
    (
        "open",
        "pyroxene.Directory",
        "open",
        r#"{"registration": {"worker": "w1", "incarnation": 18446744073709551615,
            "endpoint": "h:1", "pid": 4, "host": "h", "capacity": 2, "ttl_ms": 10000, "objects":
            [{"object": "o", "interface": "I", "version": 1, "tags": ["a"], "exclusive": true}]}}"#,
    ),
    (
        "watch",
        "pyroxene.Directory",
        "watch",
        r#"{"object": "o", "after": {"epoch": 1, "revision": 2}, "wait_ms": 9}"#,
    ),
    (
        "echo",
        "pyroxene.Echo",
        "echo",
        r#"{"data": {"a": [1, null, "\u00e9\ud83d\ude00"]}}"#,
    ),
    (
        "invoke",
        "pyroxene.Invoke",
        "call",
        r#"{"method": "sum", "arguments": "{\"values\": [1]}"}"#,
    ),
    (
        "submit",
        "pyroxene.Tasks",
        "submit",
        r#"{"tasks": [{"object": "o", "method": "m", "arguments": "{}", "key": "k", "priority": -1,
            "delay_ms": 0, "deadline_ms": 5, "max_attempts": 3, "backoff_ms": 500, "worker": null}]}"#,
    ),
    (
        "reverse",
        "pyroxene.Text",
        "reverse",
        r#"{"text": "a\u0000b"}"#,
    ),
    (
        "append",
        "pyroxene.Topics",
        "append",
        r#"{"topic": "t", "entries": [{"body": [1, 2, 255], "key": "k"}]}"#,
    ),
];

/// Answers: a name, the interface, and the answer as a variant of tarpc's response.
const ANSWERS: &[(&str, &str, &str)] = &[
    (
        "transferred",
        "pyroxene.Accounts",
        r#"{"Transfer": {"Ok": {"from": "1.00", "to": "2.5"}}}"#,
    ),
    (
        "overdraft",
        "pyroxene.Accounts",
        r#"{"Update": {"Err": {"Overdraft": {"user": "a", "balance": "1", "amount": "2"}}}}"#,
    ),
    (
        "factorial",
        "pyroxene.Calculator",
        r#"{"Factorial": {"Ok": "93326215443944152681699238856266"}}"#,
    ),
    (
        "sorted",
        "pyroxene.Calculator",
        r#"{"Sort": {"Ok": [1, 2.5]}}"#,
    ),
    (
        "changes",
        "pyroxene.Directory",
        r#"{"Watch": {"Ok": {"cursor": {"epoch": 1, "revision": 2}, "settled": true, "news": {"Changes":
            [{"Removed": {"worker": "w", "incarnation": 1, "key":
            "6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw", "endpoint": "e", "reason": "Expired"}}]}}}}"#,
    ),
    ("echoed", "pyroxene.Echo", r#"{"Echo": {"b": [true]}}"#),
    (
        "read",
        "pyroxene.Topics",
        r#"{"Read": {"Ok": {"first": 1, "head": 2, "entries":
            [{"sequence": 1, "at_ms": 5, "body": [1, 2]}]}}}"#,
    ),
];

pub(super) fn json() -> Seeds {
    let calls = CALLS.iter().map(|(name, interface, method, arguments)| {
        let text = format!("{interface}.{method}\n{arguments}");
        (*name, text.into_bytes())
    });
    let deep = |inner: String| format!("pyroxene.Echo.echo\n{{\"data\": {inner}}}").into_bytes();
    let digits = "9".repeat(600);
    let hostile = [
        (
            "hostile-deep-arrays",
            deep("[".repeat(2000) + &"]".repeat(2000)),
        ),
        (
            "hostile-deep-objects",
            deep("{\"a\":".repeat(1000) + "1" + &"}".repeat(1000)),
        ),
        (
            "hostile-digits",
            format!("pyroxene.Echo.sleep\n{{\"ms\": {digits}}}").into_bytes(),
        ),
        (
            "hostile-stranger",
            b"pyroxene.Hash.sha256\n{\"text\": \"\", \"b\": 1}".to_vec(),
        ),
        (
            "hostile-twice",
            b"pyroxene.Echo.sleep\n{\"ms\": 1, \"ms\": 2}".to_vec(),
        ),
        (
            "hostile-surrogate",
            b"pyroxene.Text.reverse\n{\"text\": \"\\ud800\"}".to_vec(),
        ),
    ];
    calls.chain(hostile).collect()
}

pub(super) fn requests() -> Seeds {
    let calls = CALLS.iter().map(|(name, interface, method, arguments)| {
        let (position, face) = face(interface);
        let body = (face.encoded_request)(method, arguments);
        (*name, with_first(2 * position, body))
    });
    let answers = ANSWERS.iter().map(|(name, interface, json)| {
        let (position, face) = face(interface);
        let body = (face.encoded_response)(json);
        (*name, with_first(2 * position + 1, body))
    });
    calls.chain(answers).collect()
}

fn face(interface: &str) -> (usize, &'static ErasedInterface) {
    static ALL: &[ErasedInterface] = &BUILT_IN_INTERFACES;
    let mut faces = ALL.iter().enumerate();
    faces.find(|(_, face)| face.name == interface).unwrap()
}

fn with_first(first: usize, mut body: Vec<u8>) -> Vec<u8> {
    body.insert(0, u8::try_from(first).unwrap());
    body
}
