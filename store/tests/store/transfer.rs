//! Moving a domain to another store.

use crate::batches::{batch, chunk, count, submit_chunk};
use crate::harness::{
    LONG, Place, claim, dispatcher, entry, failed, finish, lost, running, show, submit, succeeded,
};
use pyroxene_store::{
    NewStoredEntry, NewStoredSchedule, NewStoredTask, ScheduleChange, ScheduleOutcome, StaticName,
    Store, StoreError, StoredEntries, StoredRevocation, StoredTask, StoredTaskFilter, StoredTaskId,
    StoredTaskState, SubmissionOutcome, TransferError,
};

/// An entry that may be appended again.
fn keyed_entry() -> NewStoredEntry {
    NewStoredEntry {
        key: Some("once".to_owned()),
        ..entry("log", "with a key")
    }
}

/// A store with data of every kind.
pub(crate) async fn furnish(store: &Store) -> Vec<StoredTaskId> {
    let owner = dispatcher(store, LONG).await;
    let mut ids = Vec::new();
    for (number, size) in [10, 10_000, 20, 30].into_iter().enumerate() {
        let task = NewStoredTask {
            idempotency_key: Some(format!("k{number}")),
            ..NewStoredTask::new("calc", "run", vec![0xff; size])
        };
        ids.push(submit(store, task).await);
    }
    let claimed = claim(store, owner, "calc", 3).await;
    finish(
        store,
        running(&claimed[0], owner),
        succeeded(&[0xfe; 9_000]),
    )
    .await;
    finish(store, running(&claimed[1], owner), failed(true)).await;
    let entries = (0..300).map(|number| entry("log", &number.to_string()));
    store.append(entries.collect()).await.unwrap();
    store.append(vec![keyed_entry()]).await.unwrap();
    for name in ["kept", "gone"] {
        let name = StaticName {
            name: name.to_owned(),
            uri: "h:1".to_owned(),
            tags: vec![],
            exclusive: true,
        };
        store.put_name(name).await.unwrap();
    }
    store.remove_name("gone").await.unwrap();
    let name = "ann".to_owned();
    store
        .revoke(vec![StoredRevocation {
            name,
            issued: 1,
            until: i64::MAX,
        }])
        .await
        .unwrap();
    let schedule = NewStoredSchedule {
        name: "nightly".to_owned(),
        submitter: "ann".to_owned(),
        certificate_role: None,
        definition: "at night".to_owned(),
        from: 1,
        due: i64::MAX,
        most: 1,
        most_of_all: 1,
    };
    let added = store.change_schedule(ScheduleChange::Add(schedule)).await;
    assert_eq!(added.unwrap(), ScheduleOutcome::Done(Vec::new()));
    submit_chunk(store, chunk(0, 3)).await;
    ids
}

async fn contents(
    store: &Store,
    ids: &[StoredTaskId],
) -> (Vec<StoredTask>, StoredEntries, Vec<StoredRevocation>) {
    let mut tasks = Vec::new();
    for id in ids {
        tasks.push(show(store, *id).await);
    }
    let of_batch = StoredTaskFilter {
        batch: Some(batch()),
        ..StoredTaskFilter::default()
    };
    tasks.extend(store.tasks(&of_batch, 10).await.unwrap());
    let log = store.read("log", 0, 1000, 1 << 30).await.unwrap().unwrap();
    (tasks, log, store.revocations().await.unwrap())
}

pub(crate) async fn export(store: &Store) -> Vec<u8> {
    let mut lines = Vec::new();
    let count = store.export(&mut lines).await.unwrap();
    let found = lines.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(found as u64, count);
    lines
}

async fn moves(from: Place, to: Place) {
    let old = from.open().await;
    let ids = furnish(&old).await;
    let lines = export(&old).await;
    let new = Store::open_for_import(&to.url, to.options()).await.unwrap();
    new.import(&mut lines.as_slice()).await.unwrap();
    assert_eq!(contents(&new, &ids).await, contents(&old, &ids).await);
    assert_eq!(
        new.names_after(0).await.unwrap(),
        old.names_after(0).await.unwrap()
    );
    assert_eq!(new.check().await.unwrap(), [""; 0]);
    assert!(
        export(&new).await == lines,
        "what comes out is what went in"
    );

    // Work continues: running tasks are taken over, and fences and sequences grow from their last values.
    let owner = dispatcher(&new, LONG).await;
    assert!(owner > 1);
    assert_eq!(new.sweep().await.unwrap().rescued, 1);
    let claimed = claim(&new, owner, "calc", 10).await;
    assert_eq!(claimed.len(), 2);
    for task in &claimed {
        finish(&new, running(task, owner), lost()).await;
    }
    // The batch has all of its tasks, and takes no chunk twice.
    assert_eq!(count(&new).await.total, 3);
    submit_chunk(&new, chunk(0, 3)).await;
    assert_eq!(count(&new).await.total, 3);
    assert_eq!(new.append(vec![keyed_entry()]).await.unwrap(), [301]);
    assert_eq!(new.append(vec![entry("log", "x")]).await.unwrap(), [302]);
    let again = NewStoredTask {
        idempotency_key: Some("k1".to_owned()),
        ..NewStoredTask::new("calc", "run", vec![0xff; 10_000])
    };
    let submitted = new.submit(vec![again]).await.unwrap();
    assert_eq!(
        (submitted[0].id, submitted[0].submission),
        (ids[1], SubmissionOutcome::Existing)
    );
    assert_eq!(show(&new, ids[0]).await.state, StoredTaskState::Succeeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_moves_from_a_file_to_a_server_and_back() {
    moves(Place::sqlite().await, Place::postgres().await).await;
    moves(Place::postgres().await, Place::sqlite().await).await;
    moves(Place::memory().await, Place::memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_an_import_is_no_store_and_can_be_repeated() {
    for to in [Place::sqlite().await, Place::postgres().await] {
        let old = Place::memory().await.open().await;
        let ids = furnish(&old).await;
        // More than is written in one batch.
        let many = (0..1000).map(|_| entry("log", "y"));
        old.append(many.collect()).await.unwrap();
        let lines = export(&old).await;
        let new = Store::open_for_import(&to.url, to.options()).await.unwrap();
        let half = &lines[..lines.len() - 100];
        let error = new.import(&mut &half[..]).await.unwrap_err();
        assert!(matches!(error, TransferError::Line { .. }), "{error:?}");
        new.close().await.unwrap();
        let error = Store::open(&to.url, to.options()).await.unwrap_err();
        assert!(error.to_string().contains("not finished"), "{error}");
        let new = Store::open_for_import(&to.url, to.options()).await.unwrap();
        new.import(&mut lines.as_slice()).await.unwrap();
        new.close().await.unwrap();
        let new = to.open().await;
        assert_eq!(contents(&new, &ids).await, contents(&old, &ids).await);
        assert_eq!(new.check().await.unwrap(), [""; 0]);
        let error = new.import(&mut lines.as_slice()).await.unwrap_err();
        let TransferError::Store(StoreError::Invalid(why)) = &error else {
            panic!("{error:?}");
        };
        assert!(why.contains("already"), "{why}");
    }
}

#[tokio::test]
async fn what_is_no_export_is_refused_with_its_line() {
    let place = Place::memory().await;
    let old = place.open().await;
    furnish(&old).await;
    let lines = String::from_utf8(export(&old).await).unwrap();
    let import = async |text: String| {
        let store = Place::memory().await.open().await;
        store
            .import(&mut text.as_bytes())
            .await
            .unwrap_err()
            .to_string()
    };
    assert!(import("hello\n".to_owned()).await.starts_with("line 1: "));
    assert!(import(String::new()).await.contains("ends early"));
    let without_first: String = lines.split_inclusive('\n').skip(1).collect();
    assert!(import(without_first).await.contains("not the beginning"));
    let mut one_less: Vec<&str> = lines.split_inclusive('\n').collect();
    one_less.remove(5);
    assert!(
        import(one_less.concat())
            .await
            .contains("lines before this one")
    );
    let later = lines.replacen("\"version\":", "\"version\":99", 1);
    assert!(import(later).await.contains("schema version 99"));
}
