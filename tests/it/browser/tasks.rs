//! Tasks on the dashboard: submit, find, cancel, run again.

use super::window::{Window, open};
use crate::harness::{Broker, turn};
use serde_json::json;

/// Tasks of the list that has to stay quick: the store has this many, and more.
const MANY: u64 = 20_000;

async fn submit_dialog(window: &Window, object: &str, method: &str) {
    window.go("/tasks").await;
    window.click("main button", "Submit a task").await;
    window.choose("select[name=object]", object).await;
    window.choose("select[name=method]", method).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_submitted_seen_and_its_result_read() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(1).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    submit_dialog(&window, "text", "reverse").await;
    window.fill("dialog textarea[name=text]", "stressed").await;
    window
        .sees(
            "dialog .command code",
            "pyroxene submit text reverse text=stressed",
        )
        .await;
    window.click("dialog button[type=submit]", "Submit").await;
    window.click("dialog a", "Look at task").await;
    window
        .sees("#task-state[data-state=succeeded]", "It is done")
        .await;
    window.sees(".value-text", "desserts").await;
    window.sees(".timeline", "w1").await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_whose_object_has_no_worker_says_so() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(1).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    broker.run(&["submit", "printer", "print"]).await.out();
    window.go("/tasks").await;
    let why = "waits until a worker hosts printer";
    window.sees(".cell-note", why).await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_task_is_cancelled_and_a_failed_one_is_run_again() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(1).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    let submitted = broker.run(&["submit", "echo", "sleep", "ms=600000"]).await;
    window
        .go(&format!("/tasks/{}", submitted.out().trim()))
        .await;
    window
        .sees("#task-state[data-state=running]", "It runs at w1")
        .await;
    window.click("main .button-danger", "Cancel").await;
    window
        .sees("#task-state[data-state=cancelled]", "It was cancelled")
        .await;
    let failing = broker
        .run(&["submit", "echo", "fail", "message=no luck"])
        .await;
    window.go("/tasks?state=failed").await;
    window.click(".row-link", "echo.fail").await;
    window.sees(".notice-bad", "no luck").await;
    window.click("main .button-primary", "Run again").await;
    window.sees(".timeline", "2.").await;
    window
        .sees("#task-state[data-state=failed]", "after 2 attempts")
        .await;
    let shown = broker
        .run(&["tasks", "show", failing.out().trim(), "--json"])
        .await;
    assert_eq!(shown.json()["attempts"].as_array().map(Vec::len), Some(2));
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_filtered_by_state_object_and_text_and_shows_new_tasks() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(1).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/tasks").await;
    window.sees("main", "There are no tasks yet").await;
    broker
        .run(&["submit", "hash", "sha256", "text=a"])
        .await
        .out();
    window.sees(".row-link", "hash.sha256").await;
    broker
        .run(&["submit", "echo", "fail", "message=broken pipe"])
        .await
        .out();
    window.sees(".row-link", "echo.fail").await;
    window.click(".chip", "failed").await;
    window.misses(".row-link", "hash.sha256").await;
    window.sees(".row-link", "echo.fail").await;
    window.click(".chip", "failed").await;
    window.choose("select[aria-label=Object]", "hash").await;
    window.misses(".row-link", "echo.fail").await;
    window
        .choose("select[aria-label=Object]", "every object")
        .await;
    window
        .fill(".filters input[type=search]", "broken pipe")
        .await;
    window.misses(".row-link", "hash.sha256").await;
    window.sees(".row-link", "echo.fail").await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_are_submitted_from_lines() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(1).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/tasks").await;
    window.click("main button", "Submit many").await;
    window.choose("select[name=method]", "factorial").await;
    window
        .fill("textarea[name=lines]", "{\"n\": 5}\n{\"n\":")
        .await;
    window.sees(".field-error", "Line 2 is not JSON").await;
    let lines = "{\"n\": 5}\n[6]\n{\"object\": \"text\", \"method\": \"uppercase\", \"args\": {\"text\": \"x\"}}";
    window.fill("textarea[name=lines]", lines).await;
    window
        .click("dialog button[type=submit]", "Submit 3 tasks")
        .await;
    window
        .sees(
            "dialog [role=status], dialog .notice-good",
            "3 tasks stored",
        )
        .await;
    window.go("/tasks?state=succeeded").await;
    window.sees(".rows-foot", "3 tasks").await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_many_tasks_draws_only_those_in_view() {
    let _turn = turn().await;
    let mut broker = Broker::start().workers(1).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/tasks").await;
    window.is_live().await;
    let submit = format!(
        "const done = arguments[arguments.length - 1];
         (async () => {{
           for (let sent = 0; sent < {MANY}; sent += 5000) {{
             const tasks = Array.from({{ length: 5000 }}, () => ({{ object: 'echo', method: 'whoami', args: {{}}, delay: '1h' }}));
             const answer = await fetch('/v1/tasks', {{ method: 'POST', headers: {{ 'content-type': 'application/json' }}, body: JSON.stringify(tasks) }});
             if (!answer.ok) return done(await answer.text());
           }}
           done('');
         }})().catch((error) => done(String(error)));"
    );
    assert_eq!(window.run_async(&submit).await, json!(""));
    window.go("/tasks").await;
    window.sees(".chip", "20 k").await;
    // To the end of what is loaded, again and again, as somebody does who looks for an old task.
    let scrolled = window
        .run_async(
            "const done = arguments[arguments.length - 1];
             const box = document.querySelector('.rows-box');
             const down = () => {
               box.scrollTop = box.scrollHeight;
               if (box.scrollHeight > 40 * 2000) return done(document.querySelectorAll('.row').length);
               setTimeout(down, 20);
             };
             down();",
        )
        .await;
    let drawn = scrolled.as_u64().unwrap();
    assert!((1..100).contains(&drawn), "{drawn} rows are drawn");
    window.close().await;
}
