//! Static names that are kept in the store, so that they survive a restart and are shared by the name servers
//! over one store.
//!
//! The store decides; look-ups are answered from the directory. A change is written to the store first, and
//! every directory takes it over from there, the own one too.

use super::{DirectoryService, InstanceDirectory};
use pyroxene_common::interfaces::directory::DirectoryError;
use pyroxene_store::{Hint, NameChangeOutcome, NameChanges, StaticName, Store, StoreError};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until, timeout},
};

/// The timeout of the store.
const STATIC_NAMES_TIMEOUT: Duration = Duration::from_secs(4);

/// How often the store is polled, even without hints.
const STATIC_NAMES_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The names in the store, as far as the directory has taken them over.
#[derive(Clone, Debug)]
pub(super) struct SharedStaticNames {
    store: Store,
    /// Locked during the transfer to the directory, so that changes arrive in order.
    synced: Arc<Mutex<SyncedNames>>,
}

#[derive(Debug, Default)]
struct SyncedNames {
    revision: i64,
    /// Names that cannot be in the directory now, because a worker holds them exclusively.
    left_out: BTreeMap<String, StaticName>,
}

fn unavailable(error: &dyn std::fmt::Display) -> DirectoryError {
    let sentence = error.to_string();
    DirectoryError::Unavailable { sentence }
}

/// A request to the store with a timeout. It is boxed here, as in the service of tasks, because the database
/// driver's future is large.
fn ask<T>(
    question: impl Future<Output = Result<T, StoreError>>,
) -> impl Future<Output = Result<T, DirectoryError>> {
    let question = Box::pin(question);
    async move {
        match timeout(STATIC_NAMES_TIMEOUT, question).await {
            Ok(answer) => answer.map_err(|error| match error {
                StoreError::Invalid(sentence) => DirectoryError::Invalid { sentence },
                error => unavailable(&error),
            }),
            Err(_) => Err(unavailable(&"the store does not answer")),
        }
    }
}

impl SharedStaticNames {
    pub(super) fn new(store: Store) -> Self {
        let synced = Arc::default();
        Self { store, synced }
    }

    /// Takes over the changes since the last call.
    pub(super) async fn pull(&self, service: &DirectoryService) -> Result<(), StoreError> {
        let mut seen = self.synced.lock().await;
        let changes = self.store.names_after(seen.revision).await?;
        seen.revision = changes.revision;
        service.change(|directory| seen.apply(changes, directory));
        Ok(())
    }

    /// Writes a name after the directory has accepted it.
    pub(super) async fn register(
        &self,
        service: &DirectoryService,
        entry: StaticName,
    ) -> Result<(), DirectoryError> {
        let name = entry.name.clone();
        match ask(self.store.register_name(entry)).await? {
            NameChangeOutcome::Taken(holder) => {
                // The holder of a worker's name has a space before the incarnation; an address has no space.
                let holder = match holder.split_once(' ') {
                    Some((worker, _)) => format!("the worker {worker}"),
                    None => holder,
                };
                Err(DirectoryError::ObjectTaken { name, holder })
            }
            NameChangeOutcome::Changed(_) | NameChangeOutcome::Unchanged => {
                ask(self.pull(service)).await
            }
        }
    }

    pub(super) async fn remove(
        &self,
        service: &DirectoryService,
        name: &str,
    ) -> Result<(), DirectoryError> {
        let was_here = service.lock().directory.has_static(name);
        let removed = ask(self.store.remove_name(name)).await?;
        ask(self.pull(service)).await?;
        match removed.is_some() || was_here {
            true => Ok(()),
            false => Err(DirectoryError::UnknownName {
                name: name.to_owned(),
            }),
        }
    }

    /// Takes over the changes of other name servers, for as long as it is polled and the store is open.
    pub(super) async fn follow(&self, service: &DirectoryService) {
        let mut hints = self.store.hints();
        let mut look_at = Instant::now() + STATIC_NAMES_POLL_INTERVAL;
        loop {
            tokio::select! {
                hint = hints.next() => match hint {
                    Some(Hint::Names | Hint::Anything) => {}
                    Some(_) => continue,
                    None => return,
                },
                () = sleep_until(look_at) => {}
            }
            look_at = Instant::now() + STATIC_NAMES_POLL_INTERVAL;
            if let Err(error) = self.pull(service).await {
                tracing::debug!(%error, "cannot look for changes of static names");
            }
        }
    }
}

impl SyncedNames {
    fn apply(&mut self, changes: NameChanges, directory: &mut InstanceDirectory) {
        if changes.reset {
            let kept = |name: &String| changes.put.iter().any(|entry| entry.name == *name);
            let gone: Vec<String> = directory.static_names();
            for name in gone.iter().filter(|name| !kept(name)) {
                // It was in the directory a moment ago.
                let _ = directory.remove(name);
            }
            self.left_out.clear();
        }
        for name in &changes.removed {
            self.left_out.remove(name);
            // A name that was left out is not in the directory.
            let _ = directory.remove(name);
        }
        for entry in changes.put {
            self.left_out.insert(entry.name.clone(), entry);
        }
        self.left_out.retain(|name, entry| {
            let put = put(directory, entry);
            if let Err(error) = &put {
                tracing::debug!(name, %error, "a static name is left out for now");
            }
            put.is_err()
        });
    }
}

/// Registers a name, in the place of a different registration of the same name.
fn put(directory: &mut InstanceDirectory, entry: &StaticName) -> Result<(), DirectoryError> {
    let StaticName {
        name,
        uri,
        tags,
        exclusive,
    } = entry;
    match directory.register(name, uri, tags, *exclusive) {
        Err(DirectoryError::ObjectTaken { .. }) if directory.has_static(name) => {
            directory.remove(name)?;
            directory.register(name, uri, tags, *exclusive)
        }
        registered => registered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::DirectoryLimits;

    fn entry(name: &str, port: u16, exclusive: bool) -> StaticName {
        StaticName {
            name: name.to_owned(),
            uri: format!("h:{port}"),
            tags: Vec::new(),
            exclusive,
        }
    }

    fn directory() -> InstanceDirectory {
        InstanceDirectory::new(DirectoryLimits::default(), 1, 1, Instant::now())
    }

    fn endpoints(directory: &InstanceDirectory, name: &str) -> Vec<String> {
        use pyroxene_common::interfaces::directory::WatchUpdate;
        match directory.snapshot(name, Instant::now()).news {
            WatchUpdate::Snapshot(found) => found.into_iter().map(|one| one.endpoint).collect(),
            WatchUpdate::Changes(_) => Vec::new(),
        }
    }

    #[test]
    fn the_stores_word_replaces_what_is_there() {
        let (mut seen, mut directory) = (SyncedNames::default(), directory());
        let put = |put| NameChanges {
            put,
            ..NameChanges::default()
        };
        seen.apply(
            put(vec![entry("a", 1, true), entry("b", 1, false)]),
            &mut directory,
        );
        seen.apply(put(vec![entry("a", 2, true)]), &mut directory);
        assert_eq!(endpoints(&directory, "a"), ["h:2"]);
        let removed = vec!["b".to_owned(), "c".to_owned()];
        let changes = NameChanges {
            removed,
            ..NameChanges::default()
        };
        seen.apply(changes, &mut directory);
        assert_eq!(directory.static_names(), ["a"]);
        let reset = NameChanges {
            reset: true,
            put: vec![entry("d", 1, false)],
            ..NameChanges::default()
        };
        seen.apply(reset, &mut directory);
        assert_eq!(directory.static_names(), ["d"]);
    }
}
