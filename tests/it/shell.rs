//! `pyroxene shell`, as a script drives it.

use crate::harness::{Broker, Ran, eventually};
use serde_json::Value;

/// A shell's standard output, line by line.
fn lines(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().collect()
}

/// The lines of its standard error that tell of failures.
fn errors(ran: &Ran) -> Vec<&str> {
    let lines = ran.stderr.lines();
    lines
        .filter_map(|line| line.strip_prefix("error: "))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_calls_and_looks_around_in_order() {
    let broker = Broker::start().workers(2).await;
    std::fs::write(broker.dir().join("poem.txt"), "one two\nthree\n").unwrap();
    let script = r#"
        # Blank lines and comments are skipped.
/calculate factorial 30
/calculate sort [3, 1, 2]
/calculate sum 1 2 3.5
/text reverse it's "all  text"
/hash sha256 abc
/call echo echo {"a": "b c"}
/call echo echo 'data=two words'
/call text count_words text=@poem.txt
/describe hash
/workers
/help calculate"#;
    // The comment is not at the beginning of its line, so it is a message that nobody hears.
    let ran = broker
        .feed(&["shell"], &script.replace("        #", "#"))
        .await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stderr, "");
    let out = lines(&ran);
    assert_eq!(
        out[..8],
        [
            "265252859812191058636308480000000",
            "[1,2,3]",
            "6.5",
            r#""txet  lla" s'ti"#,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            r#"{"a":"b c"}"#,
            "two words",
            "3",
        ]
    );
    assert_eq!(out[8], "hash: pyroxene.Hash version 1");
    let table = out
        .iter()
        .position(|line| line.starts_with("NAME"))
        .unwrap();
    assert!(out[table + 1].starts_with("w1 ") && out[table + 2].starts_with("w2 "));
    assert_eq!(out[table + 3], "/calculate METHOD [VALUE…]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_shown_item_by_item_and_read_from_files() {
    let broker = Broker::start().workers(1).await;
    std::fs::write(broker.dir().join("items.txt"), "1\n22\n333\n").unwrap();
    let script = "/call echo count n=3\n/call echo collect items=@items.txt\n/call echo collect -\n\
                  /call echo count n=0\n/call echo collect\n/calculate factorial 5\n";
    let ran = broker.feed(&["shell"], script).await;
    let collected = r#"{"items":3,"bytes":6}"#;
    assert_eq!(lines(&ran), ["0", "1", "2", collected, "120"], "{ran:?}");
    assert_eq!(
        errors(&ran),
        [
            "line 3: cannot read standard input for argument 'items': \
             it is where the shell reads its commands",
            "line 5: argument 'items' is a stream: give items=- or items=@FILE",
        ]
    );
    let script = "/call echo count n=1\n/call echo collect items=@items.txt\n";
    let ran = broker.feed(&["shell", "--json"], script).await;
    let out = lines(&ran);
    assert_eq!(
        out[..2],
        [r#"{"item":0}"#, r#"{"done":true,"items":1,"worker":"w1"}"#]
    );
    let answer: Value = serde_json::from_str(out[2]).unwrap();
    assert_eq!((out.len(), &answer["result"]["items"]), (3, &3.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_goes_on_after_a_failure_and_ends_with_the_first_ones_code() {
    let broker = Broker::start().workers(1).await;
    let script = "/call teapot brew\n/calclate factorial 3\n/call echo fail 'no tea'\n\
                  /calculate factorial 5\n/call text reverse -\nhello\n/workers all\n'";
    let ran = broker.feed(&["shell"], script).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_eq!(ran.stdout, "120\n");
    assert_eq!(
        errors(&ran),
        [
            "line 1: object 'teapot' is unavailable: no live worker hosts it",
            "line 2: unknown command '/calclate'",
            "line 3: no tea",
            "line 5: cannot read standard input for argument 'text': \
             it is where the shell reads its commands",
            "line 6: you are not in the chat",
            "line 7: /workers takes no further argument: 'all'",
            "line 8: you are not in the chat",
        ]
    );
    assert!(ran.stderr.contains("hint: did you mean '/calculate'?"));
    let ran = broker.feed(&["shell"], "/quit\n/call teapot brew\n").await;
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (Some(0), "", ""));
    let nobody = ["shell", "--nameserver", "127.0.0.1:1"];
    let ran = Ran::fed(broker.dir(), &nobody, "/workers\n/help quit\n").await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stdout.starts_with("/quit\n"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_one_documented_line_for_each_command() {
    let broker = Broker::start().workers(1).await;
    let script = "/calculate factorial 5\n/workers\n/objects ca\n/describe hash\n";
    let ran = broker.feed(&["shell", "--json"], script).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let out: Vec<Value> = lines(&ran)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(out[0]["result"], "120");
    assert_eq!(out[0]["worker"], "w1");
    assert_eq!(out[1][0]["name"], "w1");
    assert_eq!(out[2][0]["name"], "calculator");
    assert_eq!(out[3]["methods"][0]["name"], "sha256");
    assert_eq!(out.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_are_submitted_and_waited_for_at_the_end() {
    let broker = Broker::start().workers(2).await;
    let script = "/submit --worker w2 calculator factorial 20\n\
                  /submit echo fail message=broken\n\
                  /submit echo sleep ms=300";
    let ran = broker.feed(&["shell"], script).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let out = lines(&ran);
    // Those that have ended are told as soon as they have, so ids and results may alternate.
    let (told, ids): (Vec<&str>, Vec<&str>) = out.iter().partition(|l| l.starts_with("task "));
    assert_eq!((told.len(), ids.len()), (2, 3), "{ran:?}");
    let told_of = |id: &str| told.iter().find(|line| line.contains(id)).copied();
    let first = told_of(ids[0]).unwrap();
    assert!(first.contains(" succeeded on w2 in "), "{first}");
    assert!(first.ends_with(": 2432902008176640000"), "{first}");
    assert_eq!(errors(&ran), [format!("task {}: broken", ids[1])]);
    assert!(told_of(ids[2]).unwrap().ends_with(": 300"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_are_counted_and_timed() {
    let broker = Broker::start().workers(2).await;
    let file = "# One task for each line.\ncalculator factorial 5\ntext reverse 'two words'\n\n\
                --worker w1 hash sha256 abc\necho fail message=broken\n";
    std::fs::write(broker.dir().join("tasks.txt"), file).unwrap();
    let script = "/submit --times 40 --quiet calculator compute iterations=1000\n\
                  /submit-file tasks.txt\n/results\n/submit-file no-such-file\n";
    let ran = broker.feed(&["shell"], script).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let out = lines(&ran);
    assert!(
        out[0].starts_with("40 tasks: 40 succeeded; total "),
        "{ran:?}"
    );
    assert!(out[0].contains(", average ") && out[1].starts_with("by worker: "));
    let results: Vec<&str> = out[2..5].to_vec();
    for expected in ["120", "sdrow owt", "ba7816bf"] {
        let found = results.iter().filter(|line| line.contains(expected));
        assert_eq!(found.count(), 1, "{expected}: {ran:?}");
    }
    assert!(out[5].starts_with("4 tasks: 3 succeeded, 1 failed; total "));
    // The headings, and a row for each of the 44.
    assert_eq!(out[7..].len(), 45, "{ran:?}");
    let errors = errors(&ran);
    assert!(errors[0].ends_with(": broken"), "{errors:?}");
    assert_eq!(errors[1], "line 2: 1 of 4 tasks have no result");
    assert!(errors[2].starts_with("line 4: cannot read no-such-file: "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_called_off_has_no_result() {
    let broker = Broker::start().workers(1).await;
    let mut shell = broker.start_command("shell", &[]);
    shell
        .write(&["/submit --delay 1h echo whoami".to_owned()])
        .await;
    let id = shell.line().await;
    shell
        .write(&[format!("/cancel {id}"), format!("/results {id}")])
        .await;
    assert_eq!(shell.line().await, format!("{id} cancelled"));
    // The end of the input is waited for, and the task that was called off does not hold it up.
    assert_eq!(shell.line().await, format!("{id} cancelled"));
    shell.write(&["/quit".to_owned()]).await;
    let status = shell.exit().await;
    assert_eq!(status.code(), Some(1));
    assert!(
        shell
            .log()
            .contains(&format!("error: task {id}: the task was cancelled"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shells_talk_to_each_other() {
    let broker = Broker::start().worker("w1", &["--objects", "chat"]).await;
    let mut ana = broker.start_command("shell", &["--as", "ana"]);
    eventually("ana is there", || async {
        let ran = broker.run(&["call", "chat", "members"]).await;
        let there = ran.stdout.contains("ana");
        there.then_some(()).ok_or(ran.stdout)
    })
    .await;
    let script = "/list\nhello all\n/msg ana just you\n/msg eve later\n/history 2\n";
    let bo = broker.feed(&["shell", "--as", "bo"], script).await;
    assert_eq!(bo.code, Some(0), "{bo:?}");
    let out = lines(&bo);
    assert_eq!(out[..2], ["ana", "bo"]);
    assert_eq!(
        out[2],
        "-- eve is not here; the message is stored until they join"
    );
    assert!(out[3].ends_with("bo → ana: just you"), "{bo:?}");
    assert!(out[4].ends_with("bo → eve: later"), "{bo:?}");
    assert!(ana.line().await.ends_with("bo: hello all"));
    assert!(ana.line().await.ends_with("bo → ana: just you"));
    let taken = broker.feed(&["shell", "--as", "ana"], "/list\n").await;
    assert!(
        taken.error(1).contains("'ana' is there already"),
        "{taken:?}"
    );
}
