//! Callbacks have the metadata of the call that makes them.

use crate::harness::{Raw, decode, encode, minutes, session, within};
use prompter::{PrompterRequest as Request, PrompterResponse as Response};
use pyroxene_common::{
    Remote,
    channel::{ClientConnection, Settings, StreamInputs, serve},
    host::ServiceDispatch,
    interface::RemoteTarget,
    message::EncodedRequest,
    metadata::Metadata,
    scope,
    wire::FrameKind,
};
use std::{collections::BTreeMap, sync::Arc};
use tarpc::context::Context;
use tokio::io::duplex;
use witness::{WitnessRequest, WitnessResponse};

type Pairs = BTreeMap<String, String>;

pyroxene_common::interface! {
    /// Tells what it sees of a call.
    #[name = "Test.Witness"]
    #[version = 1]
    pub trait Witness in witness {
        /// The metadata, and whether there is a deadline.
        async fn see() -> (Pairs, bool);
    }
}

pyroxene_common::interface! {
    /// Calls back.
    #[name = "Test.Prompter"]
    #[version = 1]
    pub trait Prompter in prompter {
        /// What the witness sees.
        async fn prompt(witness: Remote<Witness>) -> Option<(Pairs, bool)>;
    }
}

#[derive(Clone)]
struct Seeing;

impl witness::Witness for Seeing {
    async fn see(self, _: Context) -> (Pairs, bool) {
        let context = scope::context();
        let pairs = context.metadata.iter();
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        (pairs.collect(), context.deadline.is_some())
    }
}

#[derive(Clone)]
struct Prompting;

impl prompter::Prompter for Prompting {
    async fn prompt(self, context: Context, witness: Remote<Witness>) -> Option<(Pairs, bool)> {
        let RemoteTarget::Callback(callback) = witness.target() else {
            return None;
        };
        let answer = callback
            .call(&context, encode(&WitnessRequest::See {}))
            .await;
        let WitnessResponse::See(seen) = decode(&answer.ok()?);
        Some(seen)
    }
}

fn acme() -> Metadata {
    Metadata::try_from([("tenant", "acme")]).unwrap()
}

fn prompt(metadata: Option<Metadata>) -> (EncodedRequest, StreamInputs, Remote<Witness>) {
    let witness = Remote::hosted(Seeing);
    let request = Request::Prompt {
        witness: witness.clone(),
    };
    let (encoded, inputs) = StreamInputs::collect(|| EncodedRequest::new(&request));
    let encoded = match metadata {
        None => encoded.unwrap(),
        Some(metadata) => encoded.unwrap().with_metadata(encode(&metadata).into()),
    };
    (encoded, inputs, witness)
}

async fn seen_by(settings: Settings, metadata: Option<Metadata>) -> (Pairs, bool) {
    let (ours, theirs) = duplex(64 * 1024);
    let service = Arc::new(ServiceDispatch::<Prompter, _>::new(Prompting));
    tokio::spawn(async move { serve(theirs, service, session()).await });
    let client: ClientConnection<Response> = ClientConnection::new(ours, settings);
    let context = minutes(1);
    let (encoded, inputs, _witness) = prompt(metadata);
    let answer = within(client.call_streaming(&context, &encoded, &inputs)).await;
    let Response::Prompt(seen) = answer.unwrap();
    seen.unwrap()
}

#[tokio::test]
async fn a_callback_sees_the_metadata_and_the_deadline_of_its_call() {
    let with = seen_by(Settings::CLIENT, Some(acme())).await;
    let pairs = BTreeMap::from([("tenant".to_owned(), "acme".to_owned())]);
    assert_eq!(with, (pairs, true));
    let without = seen_by(Settings::CLIENT, None).await;
    assert_eq!(without, (Pairs::new(), true));
}

#[tokio::test]
async fn an_earlier_worker_gets_no_frame_for_metadata() {
    let earlier = Settings {
        metadata: false,
        ..Settings::CLIENT
    };
    assert_eq!(seen_by(earlier, Some(acme())).await, (Pairs::new(), true));
    let (ours, theirs) = duplex(64 * 1024);
    let client: ClientConnection<Response> = ClientConnection::new(ours, earlier);
    let mut raw = Raw(theirs);
    let (encoded, inputs, _witness) = prompt(Some(acme()));
    let context = minutes(1);
    let calling = client.call_streaming(&context, &encoded, &inputs);
    tokio::select! {
        answer = calling => panic!("nobody answers: {answer:?}"),
        _ = raw.expect(FrameKind::Call) => {}
    }
}

#[tokio::test]
async fn a_client_says_once_before_its_first_callback_that_it_knows_metadata() {
    let (ours, theirs) = duplex(64 * 1024);
    let client: ClientConnection<Response> = ClientConnection::new(ours, Settings::CLIENT);
    let mut raw = Raw(theirs);
    let context = minutes(1);
    for is_first in [true, false] {
        let (encoded, inputs, _witness) = prompt(None);
        let reading = async {
            if is_first {
                assert_eq!(raw.expect(FrameKind::Metadata).await, [0; 8]);
            }
            raw.expect(FrameKind::Call).await;
        };
        tokio::select! {
            answer = client.call_streaming(&context, &encoded, &inputs) => panic!("nobody answers: {answer:?}"),
            () = reading => {}
        }
        // The cancel message.
        raw.expect(FrameKind::Call).await;
    }
}
