use super::*;
use pyroxene_client::ClientConfig;
use pyroxene_common::interceptor::{InterceptedCall, Interceptor};
use pyroxene_objects::interfaces::echo::{
    Echo as EchoInterface,
    echo::{EchoRequest, EchoResponse},
};
use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread::{ThreadId, current},
};
use tokio::sync::oneshot;

/// An object with only light methods, and a pool with one thread for heavy calls.
fn hosted() -> Arc<WorkerObject<EchoInterface, pyroxene_objects::EchoObject>> {
    let pool = ComputePool::new(1, 0).unwrap();
    let surroundings = WorkerContext {
        worker: "w1".into(),
        gauge: LoadGauge::new(1, pool.clone()),
        pool,
        meters: WorkerMeters::default(),
        held_names: HeldExclusiveNames::default(),
        chaos: Chaos::default(),
        interceptors: Arc::default(),
        max_calls: 100,
        exclusive: false,
        client: Client::new(ClientConfig::new("127.0.0.1:1").unwrap()),
        draining: CancellationToken::new(),
    };
    Arc::new(WorkerObject {
        name: "echo".to_owned(),
        services: Instances::Shared(pyroxene_objects::EchoObject::new("w1")),
        is_heavy: |_| false,
        exclusive: false,
        watched_methods: WatchedMethods::new("echo", EchoInterface::METHODS),
        meter: WorkerMeters::default().add("echo", EchoInterface::METHODS),
        worker_context: surroundings,
        interface: PhantomData,
    })
}

/// A call in another form, which reports the threads on which it is decoded and its answer is encoded.
struct Told {
    is_small: bool,
    read_on: Sender<ThreadId>,
}

impl Translation<EchoRequest, EchoResponse> for Told {
    type Answer = ThreadId;

    fn method(&self) -> &str {
        "whoami"
    }

    fn is_small(&self) -> bool {
        self.is_small
    }

    fn read(self) -> Result<EchoRequest, TranslationFailure<ThreadId>> {
        self.read_on.send(current().id()).unwrap();
        Ok(EchoRequest::Whoami {})
    }

    fn is_quick(_: &EchoResponse) -> bool {
        false
    }

    fn write(_: EchoResponse) -> ThreadId {
        current().id()
    }
}

fn told(is_small: bool) -> (Told, Receiver<ThreadId>) {
    let (read_on, told) = channel();
    (Told { is_small, read_on }, told)
}

#[tokio::test]
async fn what_takes_long_to_read_and_to_write_does_so_on_the_pool() {
    let here = current().id();
    for is_small in [false, true] {
        let (call, read_on) = told(is_small);
        let written_on = hosted().dispatch_translated(context::current(), call);
        assert_ne!(written_on.await.unwrap(), here);
        assert_eq!(read_on.recv().unwrap() == here, is_small);
    }
}

#[tokio::test]
async fn a_light_call_is_small_enough_for_its_place_to_be_kept() {
    let call = hosted().dispatch(context::current(), EchoRequest::Whoami {});
    let size = size_of_val(&call);
    assert!(size <= 2304, "{size} bytes");
}

#[tokio::test]
async fn a_call_that_has_run_is_answered_however_full_the_pool_is() {
    let hosted = hosted();
    let (finish, finished) = oneshot::channel::<()>();
    let place = hosted.worker_context.pool.admit().unwrap();
    let occupied = tokio::spawn(place.run(finished));
    // There is no permit for a call that is not decoded yet. It has not run.
    let (call, _read_on) = told(false);
    let refused = Arc::clone(&hosted).dispatch_translated(context::current(), call);
    assert!(matches!(refused.await, Err(CallFailure::Refused(_))));
    let (call, _read_on) = told(true);
    let answered = tokio::spawn(hosted.dispatch_translated(context::current(), call));
    finish.send(()).unwrap();
    occupied.await.unwrap().unwrap().unwrap();
    answered.await.unwrap().unwrap();
}

/// A call that its caller may not make.
struct Forbidden;

impl Translation<EchoRequest, EchoResponse> for Forbidden {
    type Answer = ();

    fn method(&self) -> &str {
        "whoami"
    }

    fn permitted(&self) -> Result<(), CallFailure> {
        Err(CallFailure::Refused(Refusal {
            reason: RefusalReason::Denied,
            retry_after_ms: 0,
            message: "no".to_owned(),
        }))
    }

    fn is_small(&self) -> bool {
        true
    }

    fn read(self) -> Result<EchoRequest, TranslationFailure<()>> {
        panic!("it is refused before")
    }

    fn is_quick(_: &EchoResponse) -> bool {
        true
    }

    fn write(_: EchoResponse) {}
}

/// Tells of the calls that it sees.
struct Telling(std::sync::Mutex<Sender<String>>);

impl Interceptor for Telling {
    fn before(&self, call: &mut InterceptedCall<'_>) -> Result<(), Refusal> {
        let told = self.0.lock().unwrap();
        told.send(call.method.to_owned()).unwrap();
        Ok(())
    }
}

#[tokio::test]
async fn interceptors_see_no_call_that_its_caller_may_not_make() {
    let (sender, seen) = channel();
    let mut interceptors = Interceptors::default();
    interceptors.push(Arc::new(Telling(sender.into())));
    let Ok(mut hosted) = Arc::try_unwrap(hosted()) else {
        panic!("nobody else has it");
    };
    hosted.worker_context.interceptors = Arc::new(interceptors);
    let hosted = Arc::new(hosted);
    let refused = Arc::clone(&hosted).dispatch_translated(context::current(), Forbidden);
    assert!(matches!(refused.await, Err(CallFailure::Refused(_))));
    let called = hosted.dispatch(context::current(), EchoRequest::Sleep { ms: 0 });
    called.await.unwrap();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["sleep"]);
}
