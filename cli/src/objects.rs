//! Finds objects by their names.

use crate::{
    flags::{COMMAND_TIMEOUT, YesOrNo},
    messages::note,
    nameservers::{ask_directories, listed},
};
use pyroxene_client::{AttemptLog, CallError, Client, DynamicError, DynamicObject};
use pyroxene_common::interfaces::directory::NameServerStatus;
use std::{
    convert::Infallible,
    future::pending,
    io::{self, IsTerminal},
    time::Duration,
};
use tarpc::context::Context;
use tokio::time::{Instant, sleep};

/// How an object is found.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct ObjectLookup {
    /// Do not wait for workers that may still register again with a name server that has just started
    #[arg(long, env = "PYROXENE_NO_WAIT", value_parser = YesOrNo)]
    pub(crate) no_wait: bool,
}

/// After this time a waiting person is told the reason.
const WAIT_NOTICE_DELAY: Duration = Duration::from_millis(700);

impl ObjectLookup {
    /// Finds the object, with the description of its interface. A name server that has just started needs a
    /// few seconds to know that no worker hosts an object. On a terminal this wait is reported.
    pub(crate) async fn find(
        self,
        client: &Client,
        object: &str,
        context: Context,
    ) -> Result<DynamicObject, DynamicError> {
        let deadline = Instant::from_std(context.deadline);
        if self.no_wait && matches!(listed(client, object, deadline).await, Ok(None)) {
            let trail = AttemptLog {
                object: object.into(),
                method: "*".into(),
                reason: Some("no live worker hosts it now".into()),
                ..AttemptLog::default()
            };
            return Err(CallError::Unavailable(Box::new(trail)).into());
        }
        let notice = |sentence: &str| note(&format!("{sentence} (--no-wait skips this)"));
        with_wait_reported(client, object, notice, client.dynamic(object, context)).await
    }
}

/// Waits for something that needs workers that host the object. If it takes long because a name server has just
/// started, `notice` gets a sentence that says so, provided that a person at a terminal waits.
pub(crate) async fn with_wait_reported<T>(
    client: &Client,
    object: &str,
    notice: impl Fn(&str),
    waiting: impl Future<Output = T>,
) -> T {
    tokio::select! {
        done = waiting => done,
        never = report_wait(client, object, notice) => match never {},
    }
}

async fn report_wait(client: &Client, object: &str, notice: impl Fn(&str)) -> Infallible {
    if io::stderr().is_terminal() {
        sleep(WAIT_NOTICE_DELAY).await;
        let statuses = ask_directories(client, |directory, context| async move {
            directory.status(context).await
        });
        let answers = statuses.await;
        let is_new = |(_, status): &(_, Result<NameServerStatus, _>)| {
            status.as_ref().is_ok_and(|s| !s.settled)
        };
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        let is_listed = async || matches!(listed(client, object, deadline).await, Ok(Some(_)));
        // The work itself may take long, and then nobody waits for workers.
        if answers.iter().any(is_new) && !is_listed().await {
            notice(&format!(
                "the name server has just started; waiting for workers that host '{object}' to \
                 register again"
            ));
        }
    }
    pending().await
}
