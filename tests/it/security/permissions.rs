//! What a user may call, object by object and method by method.

use crate::harness::{SecuredBroker, eventually, seconds, within};
use pyroxene_client::CallError;
use pyroxene_objects::interfaces::{
    accounts::{Accounts, accounts::AccountsRequest},
    echo::{Echo, echo::EchoRequest},
    text::{Text, text::TextRequest},
};
use std::fs;
use tokio::sync::watch;

/// A broker with two workers, and `uma`, who may use the calculator and ask who answers.
async fn narrow() -> SecuredBroker {
    let broker = SecuredBroker::with_tokens()
        .worker("w1", &[])
        .worker("w2", &[])
        .await;
    let allow = ["calculator", "echo.whoami"];
    broker.add_user("uma", "user", &allow).await;
    broker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_calls_what_the_patterns_allow_and_nothing_else() {
    let broker = narrow().await;
    let run = |arguments: &'static [&'static str]| broker.run_as("uma", arguments);
    let ran = run(&["call", "calculator", "sum", "[1,2]"]).await;
    assert_eq!(ran.out(), "3");
    run(&["call", "echo", "whoami"]).await.out();
    for (command, what) in [
        (&["call", "echo", "sleep", "1"][..], "echo.sleep"),
        (&["call", "echo", "echo", "x"], "echo.echo"),
        (&["call", "text", "uppercase", "x"], "text.uppercase"),
    ] {
        let ran = run(command).await;
        let expected = format!("'uma' (user) may not call {what}");
        assert_eq!(ran.error(4), expected, "{ran:?}");
    }
    // To look is not to call.
    assert!(run(&["describe", "text"]).await.out().contains("uppercase"));
    let listed = run(&["list", "--json"]).await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(5));
    let who = run(&["whoami"]).await;
    assert!(
        who.out()
            .contains(": uma, user, for calculator echo.whoami, from 127.0.0.1:"),
        "{who:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn map_stops_at_the_first_line_that_is_denied() {
    let broker = narrow().await;
    let input = broker.keys.path("lines");
    fs::write(&input, "1\n2\n").unwrap();
    let ran = broker
        .run_as("uma", &["map", "echo", "sleep", "--input", &input])
        .await;
    let sentence = ran.error(4);
    assert!(
        sentence.ends_with("'uma' (user) may not call echo.sleep"),
        "{ran:?}"
    );
    fs::write(&input, "[[1,2]]\n[[3,4]]\n").unwrap();
    let ran = broker
        .run_as("uma", &["map", "calculator", "sum", "--input", &input])
        .await;
    assert_eq!(ran.out(), "3\n7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_is_final_and_is_not_tried_elsewhere() {
    let broker = narrow().await;
    let client = broker.client_as("uma").await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let answered = echo
        .call_traced(within(seconds(5)), &EchoRequest::Whoami {})
        .await;
    assert_eq!(answered.unwrap().attempts, 1);

    let request = EchoRequest::Sleep { ms: 1 };
    let error = echo
        .call_traced(within(seconds(5)), &request)
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Refused(_)), "{error}");
    assert_eq!(error.attempts().len(), 1);
    assert_eq!(error.last_reason(), "'uma' (user) may not call echo.sleep");

    // Of this object there is nothing that uma may call.
    let text = client.proxy::<Text>("text").await.unwrap();
    let request = TextRequest::Uppercase { text: "x".into() };
    let error = text
        .call_traced(within(seconds(5)), &request)
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Refused(_)), "{error}");
    assert_eq!(error.attempts().len(), 1);
    assert_eq!(error.last_reason(), "'uma' (user) may not call text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_of_a_batch_is_checked_by_itself() {
    let broker = narrow().await;
    let client = broker.client_as("uma").await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let requests = [
        EchoRequest::Whoami {},
        EchoRequest::Sleep { ms: 1 },
        EchoRequest::Whoami {},
    ];
    let answers = echo.batch(within(seconds(5)), &requests).await;
    let [first, second, third] = answers.try_into().unwrap();
    assert!(first.is_ok() && third.is_ok(), "{first:?} {third:?}");
    let error = second.unwrap_err();
    assert!(matches!(error, CallError::Refused(_)), "{error}");
    assert_eq!(error.last_reason(), "'uma' (user) may not call echo.sleep");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_watched_is_checked_as_any_other() {
    let broker = narrow().await;
    let client = broker.client_as("uma").await;
    let echo = client.proxy::<Echo>("echo").await.unwrap();
    let (listener, heard) = watch::channel(None);
    let request = EchoRequest::Sleep { ms: 1 };
    let watched = echo.call_with_progress(within(seconds(5)), &request, &listener);
    let error = watched.await.unwrap_err();
    assert!(matches!(error, CallError::Refused(_)), "{error}");
    assert_eq!(error.last_reason(), "'uma' (user) may not call echo.sleep");
    assert!(heard.borrow().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_an_answer_does_not_run_where_it_is_denied() {
    let bank = tempfile::TempDir::new().unwrap();
    let database = format!("sqlite:{}", bank.path().join("bank.db").display());
    let flags = ["--objects", "accounts", "--accounts-db", &database];
    let mut broker = SecuredBroker::with_tokens().worker("w1", &flags).await;
    broker.add_user("vic", "user", &["accounts.query"]).await;
    let client = broker.client_as("vic").await;
    let accounts = client.proxy::<Accounts>("accounts").await.unwrap();
    let request = AccountsRequest::Open {
        user: "vic".to_owned(),
        balance: "5".parse().unwrap(),
    };
    accounts.send(within(seconds(5)), &request).await.unwrap();
    let worker = broker.worker("w1");
    eventually("the worker says that it was denied", || async {
        let log = worker.process().log();
        let is_said = log.contains("denied") && log.contains("accounts.open");
        is_said.then_some(()).ok_or(log)
    })
    .await;
    let query = broker.run_as("root", &["call", "accounts", "query", "vic"]);
    assert!(query.await.error(1).contains("vic"));
}
