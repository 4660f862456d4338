//! The service in virtual time: waiting calls are woken by changes, and only by them.

use super::*;
use crate::directory::{DirectoryService, service::MAX_WAIT};
use pyroxene_common::interface::Outcome;
use pyroxene_common::{
    interface::Serves,
    interfaces::directory::{
        Directory as Interface, WatchResponse,
        directory::{Directory as _, DirectoryRequest},
    },
};
use tarpc::context::{self, Context};
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};

/// A context whose caller waits without a limit.
fn patient() -> Context {
    let mut context = context::current();
    context.deadline = std::time::Instant::now() + Duration::from_secs(3_600);
    context
}

fn service(limits: DirectoryLimits) -> DirectoryService {
    let directory = InstanceDirectory::new(limits, EPOCH, FIRST_FENCE, Instant::now());
    DirectoryService::new(directory)
}

/// A service that has settled and expires leases.
async fn running() -> DirectoryService {
    let service = service(DirectoryLimits::default());
    tokio::spawn(service.clone().run_expiry(std::future::pending()));
    sleep(Duration::from_secs(5)).await;
    service
}

async fn open(service: &DirectoryService, registration: Registration) -> SessionId {
    let lease = service.clone().open(patient(), registration, None).await;
    lease.unwrap().session
}

async fn watch(
    service: &DirectoryService,
    object: &str,
    after: Option<Cursor>,
    wait: Duration,
) -> Result<WatchResponse, DirectoryError> {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap();
    let service = service.clone();
    service
        .watch(patient(), object.to_owned(), after, wait_ms)
        .await
}

async fn cursor(service: &DirectoryService) -> Cursor {
    watch(service, "any", None, Duration::ZERO)
        .await
        .unwrap()
        .cursor
}

/// Starts a watch, and runs it until it waits.
async fn waiting(
    service: &DirectoryService,
    object: &'static str,
    after: Cursor,
) -> JoinHandle<(Vec<String>, Instant)> {
    let service = service.clone();
    let waiting = tokio::spawn(async move {
        let watched = watch(&service, object, Some(after), MAX_WAIT).await;
        (briefs(&watched.unwrap()), Instant::now())
    });
    tokio::task::yield_now().await;
    waiting
}

fn briefs(watched: &WatchResponse) -> Vec<String> {
    match &watched.news {
        WatchUpdate::Changes(changes) => changes.iter().map(brief).collect(),
        WatchUpdate::Snapshot(_) => panic!("changes were asked for"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_answers_when_its_object_changes_and_sleeps_through_others() {
    let service = running().await;
    let start = Instant::now();
    let watch = waiting(&service, "calc", cursor(&service).await).await;
    sleep(Duration::from_secs(1)).await;
    let other = open(&service, worker("w1", &[shared("text")])).await;
    service
        .clone()
        .renew(patient(), other, Load::default())
        .await
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(!watch.is_finished());
    open(&service, worker("w2", &[shared("calc")])).await;
    let (told, at) = watch.await.unwrap();
    assert_eq!(told, ["+w2"]);
    let late = at - (start + Duration::from_secs(2));
    assert!(late <= Duration::from_millis(5), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn changes_that_happen_at_once_arrive_together() {
    let service = running().await;
    open(&service, worker("w1", &[exclusive("lead")])).await;
    let watch = waiting(&service, "lead", cursor(&service).await).await;
    sleep(Duration::from_secs(1)).await;
    open(&service, worker("w2", &[exclusive("lead")])).await;
    let (told, _) = watch.await.unwrap();
    assert_eq!(told, ["-w1 Expired", "+w2"]);

    let watch = waiting(&service, "calc", cursor(&service).await).await;
    for number in 0..100 {
        open(&service, worker(&format!("w{number}"), &[shared("calc")])).await;
        tokio::task::yield_now().await;
    }
    let (told, _) = watch.await.unwrap();
    assert_eq!(told.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_news_answers_in_time() {
    let service = running().await;
    let after = cursor(&service).await;
    let start = Instant::now();
    open(&service, worker("w1", &[shared("text")])).await;
    let wait = Duration::from_secs(2);
    let watched = watch(&service, "calc", Some(after), wait).await.unwrap();
    assert_eq!(start.elapsed(), wait);
    assert!(briefs(&watched).is_empty());
    assert_eq!(watched.cursor.revision, after.revision + 1);

    let start = Instant::now();
    let forever = Duration::from_secs(86_400);
    watch(&service, "calc", Some(watched.cursor), forever)
        .await
        .unwrap();
    assert_eq!(start.elapsed(), MAX_WAIT);
}

#[tokio::test(start_paused = true)]
async fn a_watch_answers_before_its_caller_gives_up() {
    let service = running().await;
    let after = Some(cursor(&service).await);
    let start = Instant::now();
    let mut context = context::current();
    context.deadline = std::time::Instant::now() + Duration::from_secs(8);
    let watched = service
        .clone()
        .watch(context, "calc".to_owned(), after, 60_000);
    watched.await.unwrap();
    let waited = start.elapsed();
    assert!(waited > Duration::from_secs(7) && waited < Duration::from_millis(7_751));
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_when_the_name_server_has_settled() {
    let service = service(DirectoryLimits::default());
    let start = Instant::now();
    let first = watch(&service, "calc", None, Duration::ZERO).await.unwrap();
    assert!(!first.settled);
    let next = watch(&service, "calc", Some(first.cursor), MAX_WAIT)
        .await
        .unwrap();
    assert!(next.settled);
    assert_eq!(start.elapsed(), Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn an_old_cursor_is_refused_at_once() {
    let service = running().await;
    let old = Cursor {
        epoch: EPOCH + 1,
        revision: 0,
    };
    let refused = watch(&service, "calc", Some(old), MAX_WAIT).await;
    assert_eq!(refused, Err(DirectoryError::TooOld));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_watchers_of_an_object_are_all_told() {
    let service = running().await;
    let after = cursor(&service).await;
    let mut watchers = Vec::new();
    for _ in 0..1_000 {
        watchers.push(waiting(&service, "calc", after).await);
    }
    let others = waiting(&service, "text", after).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(service.watched_objects(), 2);
    let start = Instant::now();
    open(&service, worker("w1", &[shared("calc")])).await;
    for watcher in watchers {
        let (told, at) = watcher.await.unwrap();
        assert_eq!(told, ["+w1"]);
        assert!(at - start <= Duration::from_millis(5));
    }
    assert!(!others.is_finished());
    assert_eq!(service.watched_objects(), 1);
    others.abort();
    assert!(others.await.is_err());
    assert_eq!(service.watched_objects(), 0);
}

#[tokio::test(start_paused = true)]
async fn too_many_watchers_are_refused() {
    let service = service(DirectoryLimits {
        watchers: 1,
        ..DirectoryLimits::default()
    });
    let after = cursor(&service).await;
    let first = waiting(&service, "calc", after).await;
    let refused = watch(&service, "text", Some(after), MAX_WAIT).await;
    assert!(matches!(refused, Err(DirectoryError::Full { .. })));
    first.abort();
    assert!(first.await.is_err());
    assert!(watch(&service, "text", Some(after), MAX_WAIT).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_held_connection_shortens_the_lease() {
    let service = running().await;
    let session = open(&service, worker("w1", &[shared("calc")])).await;
    let held = tokio::spawn(service.clone().hold(patient(), session));
    let watch = waiting(&service, "calc", cursor(&service).await).await;
    sleep(Duration::from_millis(500)).await;
    assert!(!held.is_finished());
    let start = Instant::now();
    held.abort();
    let (told, at) = watch.await.unwrap();
    assert_eq!(told, ["-w1 Expired"]);
    let late = at - (start + Duration::from_secs(1));
    assert!(late <= Duration::from_millis(15), "{late:?}");

    let refused = service.clone().hold(patient(), session).await;
    assert_eq!(refused, Err(DirectoryError::UnknownSession));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_renewed_ends_on_time() {
    let service = running().await;
    let mut registration = worker("w1", &[shared("calc")]);
    registration.ttl_ms = 500;
    let start = Instant::now();
    open(&service, registration).await;
    let watch = waiting(&service, "calc", cursor(&service).await).await;
    let (told, at) = watch.await.unwrap();
    assert_eq!(told, ["-w1 Expired"]);
    let late = at - (start + Duration::from_millis(500));
    assert!(late <= Duration::from_millis(15), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn expiry_stops_when_told_to() {
    let service = service(DirectoryLimits::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let expiry = tokio::spawn(service.clone().run_expiry(async {
        let _ = stopped.await;
    }));
    sleep(Duration::from_secs(1)).await;
    assert!(!expiry.is_finished());
    drop(stop);
    expiry.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_service_answers_requests_of_the_interface() {
    let request = DirectoryRequest::Register {
        name: "sums".to_owned(),
        uri: "nowhere".to_owned(),
        tags: Vec::new(),
        exclusive: false,
    };
    let service = service(DirectoryLimits::default());
    let response = Interface::serve(service, patient(), request).await.unwrap();
    let outcome = <Interface as pyroxene_common::interface::Interface>::outcome(&response);
    let sentence = "'nowhere' is not an address: write OBJECT@ENDPOINT, \
                    pyroxene://ENDPOINT/OBJECT or ENDPOINT, where ENDPOINT is host:port, \
                    [v6]:port or unix:/path";
    assert_eq!(outcome, Outcome::Failed(sentence.to_owned()));
}
