//! A process that is killed in the middle of a write.

use crate::harness::{LONG, Place, claim, dispatcher, eventually, finish, running, succeeded};
use pyroxene_store::{
    FinishOutcome, NewStoredTask, Store, StoreUrl, StoredTaskFilter, StoredTaskId, StoredTaskState,
};
use std::{
    collections::{HashMap, HashSet},
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::Duration,
};

const NAME: &str = "crash::what_was_acknowledged_survives_a_kill";
const PLACE: &str = "PYROXENE_TEST_CRASH_STORE";

/// The process that will be killed: several tasks submit and run work, and report it on standard output once
/// it is acknowledged.
async fn work_until_killed(url: StoreUrl) {
    let store = Store::open(&url, Default::default()).await.unwrap();
    let owner = dispatcher(&store, Duration::from_millis(300)).await;
    let say = |word: &str, id: StoredTaskId| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{word} {id}")
            .and_then(|()| out.flush())
            .unwrap();
    };
    let submitting = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                let task = NewStoredTask::new("calc", "run", vec![b'x'; 300]);
                let submitted = store.submit(vec![task]).await.unwrap();
                say("submitted", submitted[0].id);
            }
        })
    });
    let _submitting: Vec<_> = submitting.collect();
    loop {
        assert!(store.renew(owner).await.unwrap());
        for task in claim(&store, owner, "calc", 5).await {
            let finished = finish(&store, running(&task, owner), succeeded(b"first")).await;
            assert_eq!(
                finished,
                FinishOutcome::Accepted(StoredTaskState::Succeeded)
            );
            say("finished", task.id);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill() {
    if let Ok(place) = std::env::var(PLACE) {
        return work_until_killed(place.parse().unwrap()).await;
    }
    for place in [Place::sqlite().await, Place::postgres().await] {
        place.open().await.close().await.unwrap();
        let url = match &place.url {
            StoreUrl::Sqlite(path) => format!("sqlite:{}", path.display()),
            StoreUrl::Postgres(url) => url.clone(),
            StoreUrl::Memory => panic!("it would not survive"),
        };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(PLACE, url)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said: HashMap<String, HashSet<StoredTaskId>> = HashMap::new();
        let mut killed = false;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some((word, id)) = line.split_once(' ') else {
                continue;
            };
            let Ok(id) = id.parse() else { continue };
            let ids = said.entry(word.to_owned()).or_default();
            ids.insert(id);
            if !killed && word == "finished" && ids.len() >= 50 {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "it ended by itself");

        // Another name server continues, and runs the remaining tasks.
        let store = Store::open(&place.url, Default::default()).await.unwrap();
        assert_eq!(store.check().await.unwrap(), [""; 0]);
        let mut filter = StoredTaskFilter::default();
        let mut found = HashMap::new();
        loop {
            let page = store.tasks(&filter, 500).await.unwrap();
            let Some(last) = page.last() else { break };
            filter.before = Some(last.id);
            found.extend(page.iter().map(|task| (task.id, task.state)));
        }
        assert!(said["submitted"].iter().all(|id| found.contains_key(id)));
        assert!(
            said["finished"]
                .iter()
                .all(|id| found[id] == StoredTaskState::Succeeded)
        );
        let owner = dispatcher(&store, LONG).await;
        let ask = || async {
            store.sweep().await.unwrap();
            store.counts().await.unwrap().running
        };
        eventually(ask, |running| *running == 0).await;
        loop {
            let claimed = claim(&store, owner, "calc", 500).await;
            if claimed.is_empty() {
                break;
            }
            for task in claimed {
                assert!(!said["finished"].contains(&task.id));
                finish(&store, running(&task, owner), succeeded(b"second")).await;
            }
        }
        assert_eq!(store.counts().await.unwrap().succeeded, found.len() as i64);
        for id in &said["finished"] {
            let task = store.task(*id).await.unwrap().unwrap();
            assert_eq!(task.result.unwrap(), b"first");
        }
    }
}
