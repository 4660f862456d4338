//! `pyroxene call`, and the exit codes of every command.

use crate::harness::{Broker, Ran};
use serde_json::json;
use std::net::TcpListener;

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_prints_its_result_alone() {
    let broker = Broker::start().workers(1).await;
    std::fs::write(broker.dir().join("poem.txt"), "one two\nthree\n").unwrap();
    for (words, expected) in [
        (
            &["calculator", "factorial", "n=20"][..],
            "2432902008176640000",
        ),
        (&["calculator", "factorial", "20"], "2432902008176640000"),
        (&["calculator", "sum", "values=[1,2,3.5]"], "6.5"),
        (
            &["calculator", "matrix_multiply", "[[1,2]]", "b=[[3],[4]]"],
            "[[11]]",
        ),
        (
            &["calculator", "fibonacci", "5"],
            r#"["0","1","1","2","3"]"#,
        ),
        (&["text", "uppercase", "text=straße"], "STRASSE"),
        (&["text", "count_words", "text=@poem.txt"], "3"),
        // The parameter wants text, so what looks like a number stays text.
        (&["text", "reverse", "text=012"], "210"),
        (
            &["echo", "echo", r#"data={"a": [1, null]}"#],
            r#"{"a":[1,null]}"#,
        ),
        (&["echo", "echo", "data=plain words"], "plain words"),
    ] {
        let words = [&["call"], words].concat();
        assert_eq!(broker.run(&words).await.out(), expected, "{words:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_json_tells_who_answered() {
    let broker = Broker::start().workers(1).await;
    let ran = broker
        .run(&["call", "calculator", "factorial", "n=5", "--json"])
        .await;
    let answer = ran.json();
    let elapsed = answer["elapsed_ms"].as_f64().unwrap();
    assert!(elapsed > 0.0 && elapsed < 10_000.0, "{elapsed}");
    let expected = json!({
        "result": "120",
        "worker": "w1",
        "attempts": 1,
        "elapsed_ms": answer["elapsed_ms"],
    });
    assert_eq!(ran.out(), expected.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_objects_own_error_is_exit_code_1() {
    let broker = Broker::start().workers(1).await;
    let ran = broker
        .run(&["call", "echo", "fail", "message=no tea today"])
        .await;
    assert_eq!(ran.error(1), "no tea today");
    let ran = broker
        .run(&["call", "calculator", "sum", "values=[]"])
        .await;
    assert_eq!(ran.error(1), "the list of values is empty");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_makes_no_sense_is_exit_code_2() {
    let broker = Broker::start().workers(1).await;
    for (words, expected) in [
        (&["call", "calculator", "factorail", "n=1"][..], "factorail"),
        (&["call", "calculator", "factorial"], "'n'"),
        (&["call", "calculator", "factorial", "n=many"], "'n'"),
        (&["call", "calculator", "factorial", "1", "2"], "'2'"),
        (
            &["call", "text", "reverse", "text=@no-such-file"],
            "no-such-file",
        ),
        (&["call", "calculator"], "METHOD"),
        (&["clal"], "clal"),
        (&["list", "--pattern", "("], "regular expression"),
    ] {
        let ran = broker.run(words).await;
        assert!(ran.error(2).contains(expected), "{words:?}: {ran:?}");
    }
    let ran = broker
        .run(&["call", "calculator", "factorail", "n=1"])
        .await;
    assert!(
        ran.stderr.contains("hint: did you mean 'factorial'?"),
        "{ran:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_to_call_is_exit_code_3() {
    let mut broker = Broker::start().workers(1).await;
    for words in [
        &["call", "teapot", "brew"][..],
        &["describe", "teapot"],
        &["lookup", "teapot"],
        &["remove", "teapot"],
        &["map", "teapot", "brew", "--input", "/dev/null"],
    ] {
        let ran = broker.run(words).await;
        assert!(ran.error(3).contains("teapot"), "{words:?}: {ran:?}");
    }
    let nobody = nobody();
    for words in [
        &["call", "calculator", "factorial", "5"][..],
        &["list"],
        &["workers"],
        &["ping"],
        &["register", "a", "127.0.0.1:1"],
    ] {
        let words = [words, &["--nameserver", &nobody]].concat();
        let ran = Ran::in_dir(broker.dir(), &words).await;
        assert!(ran.error(3).contains(&nobody), "{words:?}: {ran:?}");
    }
    broker.worker("w1").kill().await;
    broker.nameserver(0).forgets("w1").await;
    let ran = broker.run(&["call", "calculator", "factorial", "5"]).await;
    assert!(ran.error(3).contains("calculator"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_passes_is_exit_code_5() {
    let broker = Broker::start().workers(1).await;
    let words = ["call", "echo", "sleep", "60000", "--timeout", "1s"];
    let ran = broker.run(&words).await;
    assert!(ran.error(5).contains("deadline"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_fits_no_parameter_is_no_value() {
    let broker = Broker::start().workers(1).await;
    let ran = broker.run(&["call", "text", "uppercase", "txt=b"]).await;
    assert_eq!(ran.error(2), "uppercase has no parameter 'txt'");
    assert_eq!(ran.hint(), "did you mean 'text'?");
    let ran = broker
        .run(&["call", "text", "uppercase", "text=txt=b"])
        .await;
    assert_eq!(ran.out(), "TXT=B");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_keep_their_sign_and_every_digit() {
    let broker = Broker::start().workers(1).await;
    for (words, expected) in [
        (&["calculator", "sort", "[0, -0.0]"][..], "[-0.0,0]"),
        (&["calculator", "min", "[0, -0.0]"], "-0.0"),
        (
            &["echo", "echo", "data=123456789012345678901234567890"],
            "123456789012345678901234567890",
        ),
        (
            &["echo", "echo", r#"{"a": [1.10, 18446744073709551616]}"#],
            r#"{"a":[1.10,18446744073709551616]}"#,
        ),
    ] {
        let words = [&["call"], words].concat();
        assert_eq!(broker.run(&words).await.out(), expected, "{words:?}");
    }
    let mapped = broker
        .feed(&["map", "echo", "echo"], "18446744073709551616\n")
        .await;
    assert_eq!(mapped.out(), "18446744073709551616");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_has_to_wait_for_workers_that_may_come_back() {
    // It would take an hour to say that nobody hosts an object.
    let broker = Broker::start().nameserver_flags(&["--settle", "1h"]).await;
    for words in [
        &["call", "teapot", "brew"][..],
        &["describe", "teapot"],
        &["map", "teapot", "brew"],
    ] {
        let ran = broker.run(&[words, &["--no-wait"]].concat()).await;
        assert!(
            ran.error(3).contains("no live worker hosts it now"),
            "{ran:?}"
        );
    }
    let ran = broker
        .run(&["call", "teapot", "brew", "--timeout", "300ms"])
        .await;
    assert!(ran.error(3).contains("has just started"), "{ran:?}");
    let broker = Broker::start().nameserver_flags(&["--settle", "0s"]).await;
    let ran = broker
        .run(&["call", "teapot", "brew", "--timeout", "1h"])
        .await;
    assert!(ran.error(3).contains("no live worker"), "{ran:?}");
}
