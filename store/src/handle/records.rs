//! Topics, static names, revocations, and the store as a whole.

use super::{Store, check_name};
use crate::{
    backend::StoreReader,
    batch::Request,
    check, drains,
    error::StoreError,
    logouts,
    model::{
        NameChangeOutcome, NameChanges, NewSnapshot, NewStoredEntry, StaticName, StorePeer,
        StoredEntries, StoredLogout, StoredRetention, StoredRevocation, StoredTopic, StoredVisitor,
    },
    peers, revocations, schema, snapshots, static_names,
    static_names::StoredNameChange,
    tasks::millis,
    topics,
    transfer::{self, ExportRecord, TransferError},
    visitors,
};
use sqlx::Connection as _;
use std::{
    io::{BufRead, Write},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

impl Store {
    /// Appends to topics, in order. Returns the sequence of each entry. For an entry whose key the topic
    /// already has, that is the sequence of the earlier entry. When this returns, the entries are on disk.
    ///
    /// ```
    /// # use pyroxene_store::{Store, StoreOptions, StoreUrl};
    /// use pyroxene_store::NewStoredEntry;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let options = StoreOptions { create: true, ..StoreOptions::default() };
    /// # let store = Store::open(&StoreUrl::Memory, options).await?;
    /// let entry = NewStoredEntry {
    ///     topic: "door".to_owned(),
    ///     key: Some("invoice-4711".to_owned()),
    ///     body: b"paid".to_vec(),
    /// };
    /// assert_eq!(store.append(vec![entry.clone()]).await?, [1]);
    /// assert_eq!(store.append(vec![entry]).await?, [1], "the topic has the key already");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Invalid` for names and bodies above the limits; then nothing is appended.
    pub async fn append(&self, entries: Vec<NewStoredEntry>) -> Result<Vec<i64>, StoreError> {
        let mut bytes = 0;
        for entry in &entries {
            check_name("the name of a topic", &entry.topic)?;
            check_name("the key of an entry", entry.key.as_deref().unwrap_or(""))?;
            self.check_body("an entry", &entry.body)?;
            bytes += entry.body.len() + 100;
        }
        self.0.writer.write(bytes, Request::Append, entries).await
    }

    /// The entries after a sequence: at most `limit`, and no more than fit into `bytes`, but at least one if
    /// there is one. `None` if there is no such topic.
    pub async fn read(
        &self,
        topic: &str,
        after: i64,
        limit: u32,
        bytes: usize,
    ) -> Result<Option<StoredEntries>, StoreError> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX).max(1);
        let mut reader = self.0.backend.reader().await?;
        let limit = limit.max(1);
        Ok(topics::read(&mut reader.sql(), topic, after, limit, bytes).await?)
    }

    /// The result of [`read`](Self::read) for the same parameters, but without the entries, and the number of
    /// bytes that these take: 0 if there are none.
    pub async fn measure(
        &self,
        topic: &str,
        after: i64,
        limit: u32,
        bytes: usize,
    ) -> Result<Option<(StoredEntries, usize)>, StoreError> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX).max(1);
        let mut reader = self.0.backend.reader().await?;
        let limit = limit.max(1);
        let found = topics::measure(&mut reader.sql(), topic, after, limit, bytes).await?;
        Ok(found.map(|(empty, bytes)| (empty, usize::try_from(bytes).unwrap_or(0))))
    }

    /// As [`measure`](Self::measure), but waits up to `at_most` until there is an entry.
    pub async fn wait_for_entries(
        &self,
        topic: &str,
        after: i64,
        limit: u32,
        bytes: usize,
        at_most: Duration,
    ) -> Result<Option<(StoredEntries, usize)>, StoreError> {
        let end = Instant::now() + at_most;
        loop {
            // The waiter is added before the read, so that no later entry is missed.
            let grown = self.0.waiters.topic(topic, after);
            let found = self.measure(topic, after, limit, bytes).await?;
            let has_some = found.as_ref().is_some_and(|(_, bytes)| *bytes > 0);
            if has_some || timeout_at(end, grown).await.is_err() {
                return Ok(found);
            }
            if self.0.stop.token().is_cancelled() {
                return Err(StoreError::Closed);
            }
        }
    }

    /// As [`read`](Self::read), but waits up to `at_most` until there is an entry.
    pub async fn follow(
        &self,
        topic: &str,
        after: i64,
        limit: u32,
        bytes: usize,
        at_most: Duration,
    ) -> Result<Option<StoredEntries>, StoreError> {
        match self
            .wait_for_entries(topic, after, limit, bytes, at_most)
            .await?
        {
            Some((empty, 0)) => Ok(Some(empty)),
            Some(_) => self.read(topic, after, limit, bytes).await,
            None => Ok(None),
        }
    }

    /// The topic of this name.
    pub async fn topic(&self, name: &str) -> Result<Option<StoredTopic>, StoreError> {
        read!(self, topics::find, name)
    }

    /// Topics after the name `after`, in the order of names.
    pub async fn topics(&self, after: &str, limit: u32) -> Result<Vec<StoredTopic>, StoreError> {
        read!(self, topics::list, after, limit)
    }

    /// Sets the retention of a topic. The topic need not exist.
    pub async fn configure_topic(
        &self,
        topic: &str,
        retention: StoredRetention,
    ) -> Result<(), StoreError> {
        check_name("the name of a topic", topic)?;
        self.write_one(Request::Configure, (topic.to_owned(), retention))
            .await
    }

    /// Removes the entries that exceed a topic's retention; `default` fills in for limits that the topic does
    /// not set. Returns the number of removed entries; there may be more until it is 0.
    pub async fn trim(&self, topic: &str, default: StoredRetention) -> Result<u64, StoreError> {
        self.write_one(Request::Trim, (topic.to_owned(), default))
            .await
    }

    /// Deletes some of the keys of entries that were appended longer ago than `age`. Returns their number;
    /// there may be more until it is 0.
    pub async fn forget_keys(&self, age: Duration) -> Result<u64, StoreError> {
        self.write_one(Request::ForgetKeys, millis(age)).await
    }

    /// Removes a topic. Returns whether there was one. A later topic of that name begins at 1 again.
    pub async fn remove_topic(&self, topic: &str) -> Result<bool, StoreError> {
        self.write_one(Request::RemoveTopic, topic.to_owned()).await
    }

    /// Adds or changes a static name. Returns the revision, or `None` if nothing changed.
    pub async fn put_name(&self, name: StaticName) -> Result<Option<i64>, StoreError> {
        check_name("a name", &name.name)?;
        let changed = self
            .write_one(Request::Names, StoredNameChange::Put(name))
            .await?;
        Ok(changed.revision())
    }

    /// Adds or changes a static name, unless another address has the name and one of the two registrations is
    /// exclusive.
    pub async fn register_name(&self, name: StaticName) -> Result<NameChangeOutcome, StoreError> {
        check_name("a name", &name.name)?;
        self.write_one(Request::Names, StoredNameChange::Register(name))
            .await
    }

    /// Removes a static name. Returns the revision, or `None` if there was no such name.
    pub async fn remove_name(&self, name: &str) -> Result<Option<i64>, StoreError> {
        let changed = self
            .write_one(Request::Names, StoredNameChange::Remove(name.to_owned()))
            .await?;
        Ok(changed.revision())
    }

    /// The changes of static names after a revision. 0 asks for all names.
    pub async fn names_after(&self, revision: i64) -> Result<NameChanges, StoreError> {
        read!(self, static_names::changes, revision)
    }

    /// Revokes the tickets of users.
    pub async fn revoke(&self, revocations: Vec<StoredRevocation>) -> Result<(), StoreError> {
        for revocation in &revocations {
            check_name("the name of a user", &revocation.name)?;
        }
        self.0.writer.write(0, Request::Revoke, revocations).await?;
        Ok(())
    }

    /// The users whose tickets are revoked.
    pub async fn revocations(&self) -> Result<Vec<StoredRevocation>, StoreError> {
        let now = self.now().await?;
        read!(self, revocations::list, now)
    }

    /// Ends sessions of people, for all name servers of the store. The 64 of each user that began last are kept.
    pub async fn log_out(&self, logouts: Vec<StoredLogout>) -> Result<(), StoreError> {
        for logout in &logouts {
            check_name("the name of a user", &logout.name)?;
        }
        self.0.writer.write(0, Request::LogOut, logouts).await?;
        Ok(())
    }

    /// The sessions that have ended before their time.
    pub async fn logouts(&self) -> Result<Vec<StoredLogout>, StoreError> {
        let now = self.now().await?;
        read!(self, logouts::list, now)
    }

    /// A number that no other store has. An export does not take it along.
    pub async fn id(&self) -> Result<i64, StoreError> {
        read!(self, logouts::store_id)
    }

    /// Records a heartbeat of the name server at an address, and returns what is stored about it now. Does not
    /// wait for the disk.
    pub async fn peer_heartbeat(&self, address: &str) -> Result<StorePeer, StoreError> {
        check_name("the address of a name server", address)?;
        let change = peers::PeerChange::Heartbeat(address.to_owned());
        let heartbeats = self.write_one(Request::Peers, change).await?;
        let missing = || StoreError::Corrupt("a heartbeat was not counted".to_owned());
        Ok(StorePeer {
            address: address.to_owned(),
            heartbeats: heartbeats.ok_or_else(missing)?,
        })
    }

    /// Removes name servers, unless they have sent a heartbeat since. Does not wait for the disk.
    pub async fn remove_peers(&self, peers: Vec<StorePeer>) -> Result<(), StoreError> {
        let changes: Vec<_> = peers.into_iter().map(peers::PeerChange::Remove).collect();
        if !changes.is_empty() {
            self.0.writer.write(0, Request::Peers, changes).await?;
        }
        Ok(())
    }

    /// The name servers of this store. Those that died in the last seconds are among them.
    pub async fn peers(&self) -> Result<Vec<StorePeer>, StoreError> {
        read!(self, peers::list)
    }

    /// Remembers, for a week, that a worker gets no new calls. `worker` is its name and incarnation.
    pub async fn drain_worker(&self, worker: &str) -> Result<(), StoreError> {
        check_name("the name of a worker", worker)?;
        self.write_one(Request::Drain, worker.to_owned()).await
    }

    /// The workers that get no new calls.
    pub async fn drained_workers(&self) -> Result<Vec<String>, StoreError> {
        read!(self, drains::list)
    }

    /// Records who was here. Does not wait for the disk. The 1,000 that were seen last are kept.
    pub async fn see_visitors(&self, visitors: Vec<StoredVisitor>) -> Result<(), StoreError> {
        for visitor in &visitors {
            check_name("the name of a visitor", &visitor.name)?;
            check_name("the place of a visitor", &visitor.place)?;
        }
        if !visitors.is_empty() {
            let bytes = visitors.len() * 100;
            let writing = self.0.writer.write(bytes, Request::Visitors, visitors);
            writing.await?;
        }
        Ok(())
    }

    /// Who was here, those first that were seen last.
    pub async fn visitors(&self) -> Result<Vec<StoredVisitor>, StoreError> {
        read!(self, visitors::list)
    }

    /// Keeps bytes under a name, unless those that are there are younger than the snapshot wants. Returns whether they
    /// were written. Does not wait for the disk.
    ///
    /// # Errors
    ///
    /// `Invalid` for more than 16 MiB.
    pub async fn save_snapshot(&self, snapshot: NewSnapshot) -> Result<bool, StoreError> {
        check_name("the name of a snapshot", &snapshot.name)?;
        let (bytes, most) = (snapshot.content.len(), snapshots::MAX_SNAPSHOT);
        if bytes > most {
            let why = format!("a snapshot of {bytes} bytes exceeds the limit of {most}");
            return Err(StoreError::Invalid(why));
        }
        let saving = self
            .0
            .writer
            .write(bytes, Request::Snapshots, vec![snapshot]);
        Ok(saving.await?.into_iter().any(|written| written))
    }

    /// The bytes that are kept under a name.
    pub async fn snapshot(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        read!(self, snapshots::load, name)
    }

    /// Checks the complete store. Returns all problems, one message each.
    pub async fn check(&self) -> Result<Vec<String>, StoreError> {
        read!(self, check::check)
    }

    /// Writes everything but leases, visitors, logouts and snapshots as JSON lines, in one consistent snapshot.
    /// Returns the number of lines.
    ///
    /// ```
    /// # use pyroxene_store::{Store, StoreOptions, StoreUrl};
    /// use pyroxene_store::NewStoredEntry;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let options = StoreOptions { create: true, ..StoreOptions::default() };
    /// # let store = Store::open(&StoreUrl::Memory, options.clone()).await?;
    /// # let copy = Store::open(&StoreUrl::Memory, options).await?;
    /// let entry = NewStoredEntry { topic: "door".to_owned(), key: None, body: b"opened".to_vec() };
    /// store.append(vec![entry]).await?;
    /// let mut lines = Vec::new();
    /// let exported = store.export(&mut lines).await?;
    /// let imported = copy.import(&mut lines.as_slice()).await?;
    /// assert_eq!(imported, exported);
    /// assert!(copy.topic("door").await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Errors of the store or of the output.
    pub async fn export(&self, output: &mut (dyn Write + Send)) -> Result<u64, TransferError> {
        const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let mut reader = self.0.backend.reader().await?;
        let store = |error: sqlx::Error| StoreError::from(error);
        // The transaction is dropped at the end, which rolls it back. It has written nothing.
        match &mut reader {
            StoreReader::Postgres(connection) => {
                let mut begun = connection.begin_with(BEGIN).await.map_err(store)?;
                let mut sql = crate::sql::SqlConnection::Postgres(&mut begun);
                transfer::export(&mut sql, output).await
            }
            StoreReader::Pooled(connection) => {
                let mut begun = connection.begin().await.map_err(store)?;
                let mut sql = crate::sql::SqlConnection::Sqlite(&mut begun);
                transfer::export(&mut sql, output).await
            }
            StoreReader::Shared(connection) => {
                let mut sql = crate::sql::SqlConnection::Sqlite(&mut connection.connection);
                transfer::export(&mut sql, output).await
            }
        }
    }

    /// Reads the output of [`export`](Self::export) into a store that is empty, or into which the same import
    /// was not finished. Returns the number of lines.
    ///
    /// # Errors
    ///
    /// Errors of the store, of the input, or of its content. Unless all of it was read, the store can only be
    /// used to import again.
    pub async fn import(&self, input: &mut (dyn BufRead + Send)) -> Result<u64, TransferError> {
        /// How many lines are written at once, and how many bytes.
        const MOST: (usize, usize) = (500, 4 << 20);
        self.check_importable().await?;
        let (mut line, mut complete) = (0, false);
        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut text = String::new();
        loop {
            text.clear();
            if input.read_line(&mut text)? == 0 {
                break;
            }
            line += 1;
            let record: ExportRecord = serde_json::from_str(&text).map_err(|error| {
                let why = error.to_string();
                TransferError::Line { line, why }
            })?;
            complete = check_order(&record, line, complete)?;
            bytes += record.size();
            records.push(record);
            if records.len() >= MOST.0 || bytes >= MOST.1 {
                let full = std::mem::take(&mut records);
                self.0.writer.write(bytes, Request::Import, full).await?;
                bytes = 0;
            }
        }
        if !complete {
            let why = "it ends early: the last line of an export is missing".to_owned();
            return Err(TransferError::Line { line, why });
        }
        self.0.writer.write(bytes, Request::Import, records).await?;
        Ok(line)
    }

    async fn check_importable(&self) -> Result<(), StoreError> {
        let mut reader = self.0.backend.reader().await?;
        let mut sql = reader.sql();
        if transfer::is_unfinished(&mut sql).await? || transfer::is_empty(&mut sql).await? {
            return Ok(());
        }
        let why = "there is something in the store already; import into a new one";
        Err(StoreError::Invalid(why.to_owned()))
    }
}

/// Checks that a record may be at this line. Returns whether it is the last one.
fn check_order(record: &ExportRecord, line: u64, complete: bool) -> Result<bool, TransferError> {
    let wrong = |why: String| Err(TransferError::Line { line, why });
    let known = schema::SCHEMA_VERSION;
    match record {
        _ if complete => wrong("there is more after the end".to_owned()),
        ExportRecord::Store { version } if line == 1 && *version <= known => Ok(false),
        ExportRecord::Store { version } if line == 1 => {
            let found = *version;
            Err(StoreError::NewerSchema { found, known }.into())
        }
        _ if line == 1 => wrong("it is not the beginning of an export".to_owned()),
        ExportRecord::End { lines } if *lines == line - 1 => Ok(true),
        ExportRecord::End { lines } => {
            wrong(format!("there should be {lines} lines before this one"))
        }
        _ => Ok(false),
    }
}
