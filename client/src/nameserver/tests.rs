//! Name servers of an earlier version.

mod earlier;

use super::NameServerClient;
use crate::{CallError, ClientConfig};
use pyroxene_common::{
    host::{Host, HostConfig, HostedObject},
    interface::SpokenVersion,
    interfaces::directory::{
        self, Cursor, Instance, InstanceState, ObjectRegistration, Registration, SessionId,
        WatchResponse, WatchUpdate,
    },
    message::Load,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};
use tarpc::context::{self, Context};

use directory::{DirectoryError, Lease};

/// A name server that knows what was registered last.
#[derive(Clone, Default)]
struct Earlier(Arc<Mutex<Option<Registration>>>);

impl earlier::directory::Directory for Earlier {
    async fn open(self, _: Context, registration: Registration) -> Result<Lease, DirectoryError> {
        *self.0.lock().unwrap() = Some(registration);
        Ok(Lease {
            session: SessionId([1, 2]),
            epoch: 1,
            ttl_ms: 1000,
            fences: Vec::new(),
        })
    }
    async fn renew(self, _: Context, _: SessionId, _: Load) -> Result<Lease, DirectoryError> {
        Err(DirectoryError::UnknownSession)
    }
    async fn hold(self, _: Context, _: SessionId) -> Result<(), DirectoryError> {
        Err(DirectoryError::UnknownSession)
    }
    async fn drain(self, _: Context, _: SessionId) -> Result<(), DirectoryError> {
        Err(DirectoryError::UnknownSession)
    }
    async fn close(self, _: Context, _: SessionId) -> Result<(), DirectoryError> {
        Err(DirectoryError::UnknownSession)
    }
    async fn watch(
        self,
        _: Context,
        object: String,
        _: Option<Cursor>,
        _: u64,
    ) -> Result<WatchResponse, DirectoryError> {
        let registered = self.0.lock().unwrap().clone();
        let instance = registered.map(|registration| Instance {
            worker: registration.worker,
            incarnation: registration.incarnation,
            key: None,
            endpoint: registration.endpoint,
            target: object,
            interface: registration.objects[0].interface.clone(),
            version: registration.objects[0].version,
            spoken: Vec::new(),
            state: InstanceState::Ready,
            tags: Vec::new(),
            fence: None,
            load: Load::default(),
        });
        Ok(WatchResponse {
            cursor: Cursor {
                epoch: 1,
                revision: 1,
            },
            settled: true,
            news: WatchUpdate::Snapshot(instance.into_iter().collect()),
        })
    }
}

#[tokio::test]
async fn an_earlier_name_server_is_told_and_tells_what_it_knows() {
    let earlier = Earlier::default();
    let object = HostedObject::from_service::<earlier::Directory, _>(earlier.clone());
    let objects = HashMap::from([(directory::OBJECT.to_owned(), object)]);
    let host = HostConfig::new("127.0.0.1:0".parse().unwrap(), "earlier");
    let host = Host::bind(host, objects).await.unwrap();
    let config = ClientConfig::new(&host.local_addr().to_string()).unwrap();
    let nameserver = NameServerClient::new(config.endpoints()[0].clone(), &config);
    let registration = Registration {
        worker: "w1".to_owned(),
        incarnation: 7,
        endpoint: "127.0.0.1:1".to_owned(),
        pid: 1,
        host: "here".to_owned(),
        capacity: 1,
        ttl_ms: 1000,
        objects: vec![ObjectRegistration {
            object: "o".to_owned(),
            interface: "Test.Thing".to_owned(),
            version: 2,
            spoken: vec![SpokenVersion {
                version: 2,
                fingerprint: 3,
            }],
            tags: Vec::new(),
            exclusive: false,
        }],
    };
    let opened = nameserver.open_session(context::current(), registration);
    assert_eq!(opened.await.unwrap().unwrap().session, SessionId([1, 2]));
    let watched = nameserver.watch(context::current(), "o".to_owned(), None, 0);
    let watched = watched.await.unwrap().unwrap();
    let WatchUpdate::Snapshot(instances) = watched.news else {
        panic!("it lists what there is");
    };
    assert_eq!((&*instances[0].worker, instances[0].version), ("w1", 2));
    // What only a later one has is not sent to it.
    let directory = nameserver.directory();
    let error = directory
        .watch_versions(context::current(), "o".to_owned(), None, 0)
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Unavailable(_)), "{error}");
    let expected = "it speaks version 1 of pyroxene.Directory, and the call needs version 2";
    assert!(error.to_string().contains(expected), "{error}");
}
