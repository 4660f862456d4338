//! The beginning of version 1 of the directory.

use pyroxene_common::interfaces::directory::{
    Cursor, DirectoryError, Lease, Registration, SessionId, WatchResponse,
};
use pyroxene_common::message::Load;

pyroxene_common::interface! {
    /// Which workers host which objects.
    #[name = "pyroxene.Directory"]
    #[version = 1]
    pub(crate) trait Directory in directory {
        #[idempotent]
        async fn open(registration: Registration) -> Result<Lease, DirectoryError>;
        #[idempotent]
        async fn renew(session: SessionId, load: Load) -> Result<Lease, DirectoryError>;
        #[idempotent]
        async fn hold(session: SessionId) -> Result<(), DirectoryError>;
        #[idempotent]
        async fn drain(session: SessionId) -> Result<(), DirectoryError>;
        #[idempotent]
        async fn close(session: SessionId) -> Result<(), DirectoryError>;
        #[idempotent]
        async fn watch(object: String, after: Option<Cursor>, wait_ms: u64) -> Result<WatchResponse, DirectoryError>;
    }
}
