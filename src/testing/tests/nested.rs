//! Callbacks within callbacks, whose listener goes meanwhile.

use super::super::Broker;
use crate::{CallError, Client, Remote, tarpc::context::Context};
use pyroxene_client::context_within;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

crate::interface! {
    /// Hears, and goes on.
    #[name = "Test.Hearer"]
    #[version = 1]
    pub(crate) trait Hearer in hearer {
        /// Has itself told by the worker again, as often as this, and answers what each level heard.
        async fn hear(times: u32) -> Vec<String>;
    }
}

crate::interface! {
    /// Tells the last one that it was given.
    #[name = "Test.Teller"]
    #[version = 1]
    pub(crate) trait Teller in teller {
        async fn keep(hearer: Remote<Hearer>);
        async fn tell(times: u32) -> Vec<String>;
    }
}

/// How many calls run at the worker.
type Running = watch::Sender<usize>;

struct RunningCall(Running);

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[derive(Clone)]
struct Telling {
    client: Client,
    kept: Arc<Mutex<Option<Remote<Hearer>>>>,
    running: Running,
}

impl teller::Teller for Telling {
    async fn keep(self, _: Context, hearer: Remote<Hearer>) {
        *self.kept.lock().unwrap() = Some(hearer);
    }

    async fn tell(self, context: Context, times: u32) -> Vec<String> {
        self.running.send_modify(|count| *count += 1);
        let _running = RunningCall(self.running.clone());
        let hearer = self.kept.lock().unwrap().clone().unwrap();
        let hearer = self.client.remote(&hearer).await.unwrap();
        match hearer.hear(context, times).await {
            Ok(heard) => heard,
            Err(CallError::Gone(log)) => vec![format!("gone, ran: {}", log.may_have_run())],
            Err(error) => vec![error.to_string()],
        }
    }
}

/// What a test can change while callbacks run.
struct Stage {
    broker: Mutex<Broker>,
    /// It keeps the listener hosted.
    hearer: Mutex<Option<Remote<Hearer>>>,
}

#[derive(Clone)]
struct Hearing {
    client: Client,
    stage: Arc<Stage>,
    /// What happens in the innermost callback, before it has the worker call once more.
    innermost: fn(&Stage),
}

impl hearer::Hearer for Hearing {
    async fn hear(self, context: Context, times: u32) -> Vec<String> {
        if times == 0 {
            (self.innermost)(&self.stage);
        }
        let teller = self.client.object::<Teller>("teller").await.unwrap();
        let mut heard = match teller.tell(context, times.saturating_sub(1)).await {
            Ok(heard) => heard,
            Err(error) => vec![error.to_string()],
        };
        heard.push(format!("heard {times}"));
        heard
    }
}

fn hour() -> Context {
    context_within(Duration::from_secs(3600))
}

/// What is seen of a call during which four callbacks run, one within the other.
struct Seen {
    answer: Result<Vec<String>, CallError>,
    took: Duration,
    running: Running,
    _stage: Arc<Stage>,
}

async fn tell(innermost: fn(&Stage)) -> Seen {
    let mut broker = Broker::start().await.unwrap();
    let running = Running::default();
    let at_worker = running.clone();
    let added = broker.worker("w1", |worker| {
        let make = |own: &pyroxene_worker::WorkerContext| Telling {
            client: own.client().clone(),
            kept: Arc::default(),
            running: at_worker,
        };
        worker.host_with("teller", Teller, make, |_| false)
    });
    added.await.unwrap();
    let client = broker.client().await.unwrap();
    let stage = Arc::new(Stage {
        broker: Mutex::new(broker),
        hearer: Mutex::default(),
    });
    let hearing = Hearing {
        client: client.clone(),
        stage: Arc::clone(&stage),
        innermost,
    };
    let hearer = client.host(Hearer, hearing);
    let teller = client.object::<Teller>("teller").await.unwrap();
    teller.keep(hour(), hearer.clone()).await.unwrap();
    *stage.hearer.lock().unwrap() = Some(hearer);
    let began = Instant::now();
    let answer = teller.tell(hour(), 3).await;
    Seen {
        answer,
        took: began.elapsed(),
        running,
        _stage: stage,
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_goes_during_its_callbacks_is_gone_for_the_next_one_at_once() {
    let innermost = |stage: &Stage| drop(stage.hearer.lock().unwrap().take());
    let Seen { answer, took, .. } = tell(innermost).await;
    let expected = [
        "gone, ran: false",
        "heard 0",
        "heard 1",
        "heard 2",
        "heard 3",
    ];
    assert_eq!(answer.unwrap(), expected);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_during_nested_callbacks_ends_all_of_them_at_once() {
    let innermost = |stage: &Stage| stage.broker.lock().unwrap().kill("w1");
    let Seen { answer, took, .. } = tell(innermost).await;
    assert!(matches!(answer, Err(CallError::MaybeRan(_))), "{answer:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn nested_callbacks_of_a_client_that_is_cut_off_end_at_both_sides_when_that_is_noticed() {
    let innermost = |stage: &Stage| stage.broker.lock().unwrap().loss("w1", 1.0);
    let seen = tell(innermost).await;
    let (answer, took) = (&seen.answer, seen.took);
    assert!(matches!(answer, Err(CallError::MaybeRan(_))), "{answer:?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    let mut running = seen.running.subscribe();
    let ended = timeout(
        Duration::from_secs(60),
        running.wait_for(|count| *count == 0),
    )
    .await;
    ended.expect("calls hang at the worker").unwrap();
}
