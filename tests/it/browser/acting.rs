//! The main act of the pages about objects, workers, topics and the domain.

use super::window::open;
use crate::harness::{Broker, SecuredBroker, eventually, seconds, turn};
use serde_json::json;

/// The most that the first load may take of the network, in bytes.
const FIRST_LOAD: u64 = 150 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_says_in_words_whether_all_is_well() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(2).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/").await;
    window.sees("h1", "Everything works").await;
    window.sees(".verdict p", "2 workers ready for").await;
    window.sees("td.name", "calculator").await;
    window.sees("td.name", "w2").await;
    window.sees(".chart-title", "Calls a second").await;
    broker
        .run(&["call", "text", "uppercase", "text=a"])
        .await
        .out();
    // Half a call a second in the last two seconds is far less over the last minute, but not none.
    window.misses(".verdict p", "Nobody calls").await;
    window.click(".choice button", "24 h").await;
    window.sees(".choice [aria-pressed=true]", "24 h").await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_without_workers_says_so_and_how_to_start_one() {
    let _turn = turn().await;
    let mut broker = Broker::start().await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/").await;
    window.sees("h1", "Something is wrong").await;
    window.sees(".findings", "No worker is running").await;
    window
        .sees(".findings .command code", "pyroxene worker --nameserver")
        .await;
    broker.add_worker("w1", &[]).await;
    window.sees("h1", "Everything works").await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_load_is_small() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(1).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/").await;
    window.is_live().await;
    window.sees(".chart-title", "Calls a second").await;
    let sizes = window
        .run(
            "return performance.getEntries().filter((entry) => 'transferSize' in entry)
                .map((entry) => [entry.name, entry.transferSize])",
        )
        .await;
    let sizes: Vec<(String, u64)> = serde_json::from_value(sizes).unwrap();
    let total: u64 = sizes.iter().map(|(_, size)| size).sum();
    assert!(
        total > 0 && total <= FIRST_LOAD,
        "{total} bytes: {sizes:#?}"
    );
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_from_the_schema_calls_a_method_and_submits_it_as_a_task() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(1).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/objects").await;
    window.click("td.name a", "calculator").await;
    window.click(".methods a", "matrix_multiply").await;
    window.fill("textarea[name=a]", "1 2\n3 4").await;
    window.fill("textarea[name=b]", "5, 6\n7, 8").await;
    window.sees(".field-tools", "2 × 2").await;
    window.click(".call button[type=submit]", "Call").await;
    window.sees(".answered", "by w1").await;
    window.sees(".answered", "1 attempt").await;
    for number in ["19", "22", "43", "50"] {
        window.sees(".outcome td", number).await;
    }
    window
        .sees(".call-commands", "pyroxene call calculator matrix_multiply")
        .await;
    window.click(".call button", "Submit as task").await;
    window.click(".outcome a", "Look at task").await;
    window
        .sees("#task-state[data-state=succeeded]", "It is done")
        .await;
    window.sees("td", "50").await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_said_in_words() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(1).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/objects/echo/fail").await;
    window
        .fill("textarea[name=message]", "the bridge is out")
        .await;
    window.click(".call button[type=submit]", "Call").await;
    window
        .sees(".outcome [role=alert]", "the bridge is out")
        .await;
    window.go("/objects/calculator/factorial").await;
    window.fill("input[name=n]", "-3").await;
    window.click(".call button[type=submit]", "Call").await;
    window.sees(".field-error", "At least 0").await;
    window.fill("input[name=n]", "99999999").await;
    window.click(".call button[type=submit]", "Call").await;
    window.sees(".outcome [role=alert]", "1000000").await;
    window.go("/objects/nonsense").await;
    window.sees("[role=alert]", "nonsense").await;
    window.go("/tasks/nonsense").await;
    window.sees("main", "There is no such task").await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_plotted_and_large_integers_keep_all_their_digits() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(1).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/objects/calculator/fibonacci").await;
    window.fill("input[name=n]", "90").await;
    window.click(".call button[type=submit]", "Call").await;
    window
        .sees(".outcome .choice [aria-pressed=true]", "Plot")
        .await;
    window.sees(".outcome canvas", "").await;
    window.go("/objects/echo/echo").await;
    window
        .fill("textarea[name=data]", "{\"n\": 18446744073709551615}")
        .await;
    window.click(".call button[type=submit]", "Call").await;
    window.sees(".outcome .tree", "18446744073709551615").await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_drained() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(2).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/workers").await;
    window.click(".row-link", "w1").await;
    window.click("main .button-danger", "Drain").await;
    window.click("dialog .button-danger", "Drain w1").await;
    window.sees(".facts", "draining").await;
    eventually("the other worker answers", || async {
        let ran = broker.run(&["call", "echo", "whoami"]).await;
        let worker = ran.json()["worker"].clone();
        (worker == json!("w2"))
            .then_some(())
            .ok_or(worker.to_string())
    })
    .await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_appended_to_and_followed() {
    let _turn = turn().await;
    let mut broker = Broker::start().await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/topics").await;
    window.fill("input[name=topic]", "news").await;
    window.click(".side button", "Open").await;
    window.fill("textarea[name=entry]", "from the page").await;
    window.click("main button", "Append").await;
    window.sees(".entries", "from the page").await;
    broker
        .run(&["topic", "append", "news", "from a terminal"])
        .await
        .out();
    window
        .sees_within(seconds(5), ".entries", "from a terminal")
        .await;
    window.sees(".side-list", "2 entries").await;
    let read = broker.run(&["topic", "read", "news"]).await;
    assert!(read.out().contains("from the page"), "{read:?}");
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_is_paused_goes_on_and_runs_now() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(1).await;
    let add = ["schedules", "add", "nightly", "0 3 * * *", "echo", "whoami"];
    broker.run(&add).await.out();
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/domain").await;
    window.sees("td.name", "nightly").await;
    window.click("main button", "Pause").await;
    window.sees("td .state", "paused").await;
    let listed = broker.run(&["schedules", "list", "--json"]).await.json();
    assert_eq!(listed[0]["paused"], json!(true), "{listed}");
    window.click("main button", "Resume").await;
    window.misses("td .state", "paused").await;
    window.click("main button", "Run now").await;
    window.click(".nav a", "Tasks").await;
    window.sees(".rows", "echo.whoami").await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_logs_in_and_out() {
    let _turn = turn().await;
    let mut broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/workers").await;
    window.sees("h1", "Log in").await;
    window.fill("input[name=user]", "root").await;
    window.fill("input[name=token]", "nonsense").await;
    window.click("#login button", "Log in").await;
    window.sees("#login [role=alert]", "Not logged in").await;
    window
        .fill("input[name=token]", broker.keys.token("root").trim())
        .await;
    window.click("#login button", "Log in").await;
    window.sees(".row-link", "w1").await;
    window.click(".nav a", "Domain").await;
    window.sees(".facts", "root").await;
    window.click("main button", "Log out").await;
    window.sees("h1", "Log in").await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_colours_follow_the_choice_and_it_is_remembered() {
    let _turn = turn().await;
    let mut broker = Broker::start().await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/domain").await;
    window.click(".theme button", "Dark").await;
    window.go("/").await;
    window.sees(".theme [aria-pressed=true]", "Dark").await;
    let theme = window
        .run("return document.documentElement.dataset.theme")
        .await;
    assert_eq!(theme, json!("dark"));
    window.close().await;
}
