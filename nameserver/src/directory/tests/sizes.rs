//! The memory that a connection to a name server keeps after its first call: the size of one call's future.

use crate::directory::{DirectoryLimits, DirectoryService, InstanceDirectory};
use pyroxene_common::{
    channel::Dispatch, host::ServiceDispatch, interfaces::directory::Directory as Interface,
    interfaces::directory::directory::DirectoryRequest,
};
use std::sync::Arc;
use tokio::time::Instant;

#[tokio::test]
async fn a_call_takes_little_room() {
    let directory = InstanceDirectory::new(DirectoryLimits::default(), 1, 1, Instant::now());
    let service = DirectoryService::new(directory);
    let service = Arc::new(ServiceDispatch::<Interface, _>::new(service));
    let call = service.dispatch(tarpc::context::current(), DirectoryRequest::Status {});
    let size = size_of_val(&call);
    assert!(size <= 2048, "{size} bytes");
}
