//! What the doctor looks at.

use super::{Finding, clock};
use crate::{
    commands::check::Health,
    failure::{Exit, Failure},
    flags::ClientArguments,
    nameservers::{ask_directories, list, workers},
    output::local,
};
use futures::{StreamExt, stream};
use pyroxene_certs::{inspect, read};
use pyroxene_client::Client;
use pyroxene_common::{
    endpoint::Endpoint,
    interfaces::directory::{NameServerStatus, ObjectEntry, ObjectFilter, WorkerEntry},
    net::dial,
};
use rustix::process::{Resource, getrlimit};
use std::{
    collections::BTreeSet,
    io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::timeout;

/// How long a worker may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How many workers are connected to at once.
const CONNECTIONS: usize = 32;

/// A certificate that ends within this time is to be replaced now.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// By how many seconds clocks may differ.
const CLOCK_TOLERANCE: i64 = 2;

/// The open files that a daemon with the default limits of connections may need.
const OPEN_FILES: u64 = 16 * 1024;

/// The broker and this machine, as they were found.
pub(super) struct Examined {
    pub(super) findings: Vec<Finding>,
    pub(super) nameservers: Vec<(Endpoint, Result<NameServerStatus, String>)>,
    pub(super) workers: Vec<WorkerEntry>,
    pub(super) objects: Vec<ObjectEntry>,
}

impl Examined {
    pub(super) async fn of(arguments: &ClientArguments) -> Self {
        // A certificate that has ended would fail everything else.
        let mut findings = certificates(arguments);
        findings.push(open_files());
        let mut examined = Self {
            findings,
            nameservers: Vec::new(),
            workers: Vec::new(),
            objects: Vec::new(),
        };
        let client = match arguments.client() {
            Ok(client) => client,
            Err(failure) => {
                examined.findings.push(no_client(failure));
                return examined;
            }
        };
        if examined.look_at_nameservers(&client).await {
            match arguments.tls.tls_ca {
                None => examined.look_at_clocks().await,
                Some(_) => {
                    let message = "clocks are not compared over TLS";
                    let finding = Finding::new(Health::Ok, "clock", message);
                    examined.findings.push(finding);
                }
            }
            examined.findings.push(store(&client).await);
            examined.look_at_workers(&client).await;
            let filter = ObjectFilter::default();
            examined.objects = list(&client, &filter).await.unwrap_or_default();
        }
        examined
    }

    /// Returns whether any name server answers.
    async fn look_at_nameservers(&mut self, client: &Client) -> bool {
        let answers = ask_directories(client, |directory, context| async move {
            directory.status(context).await
        });
        let answers = answers.await;
        let answers_any = answers.iter().any(|(_, answer)| answer.is_ok());
        for (nameserver, answer) in answers {
            let endpoint = nameserver.endpoint().clone();
            self.findings
                .push(nameserver_finding(&endpoint, &answer, answers_any));
            let answer = answer.map_err(|failure| failure.message.unwrap_or_default());
            self.nameservers.push((endpoint, answer));
        }
        self.findings.extend(versions(&self.nameservers));
        answers_any
    }

    async fn look_at_clocks(&mut self) {
        for (endpoint, answer) in &self.nameservers {
            if answer.is_ok()
                && let Some(ahead) = clock::ahead(endpoint).await
            {
                self.findings.push(clock_finding(endpoint, ahead));
            }
        }
    }

    async fn look_at_workers(&mut self, client: &Client) {
        self.workers = match workers(client).await {
            Ok(workers) => workers,
            Err(failure) => {
                let message = failure.message.unwrap_or_default();
                let message = format!("the workers cannot be listed: {message}");
                self.findings
                    .push(Finding::new(Health::Warning, "worker", message));
                return;
            }
        };
        if self.workers.is_empty() {
            let finding = Finding::new(Health::Warning, "worker", "there is no live worker");
            self.findings
                .push(finding.advice("start one with 'pyroxene worker'"));
            return;
        }
        let workers = self.workers.clone();
        let reached = stream::iter(workers).map(|worker| async move {
            let outcome = reach(&worker.endpoint).await;
            worker_finding(&worker, outcome)
        });
        let findings: Vec<Finding> = reached.buffered(CONNECTIONS).collect().await;
        self.findings.extend(findings);
    }
}

/// The finding if name servers cannot be asked with these flags.
fn no_client(failure: Failure) -> Finding {
    let reason = failure.message.unwrap_or_default();
    let message = format!("no name server can be asked: {reason}");
    Finding {
        advice: failure.hint,
        ..Finding::new(Health::Critical, "nameserver", message)
    }
}

fn nameserver_finding(
    endpoint: &Endpoint,
    answer: &Result<NameServerStatus, Failure>,
    answers_any: bool,
) -> Finding {
    match answer {
        Ok(status) => {
            let up = Duration::from_secs(status.uptime_ms / 1000);
            let message = format!(
                "name server {endpoint} answers: version {}, up {}, {} workers",
                status.version,
                humantime::format_duration(up),
                status.workers,
            );
            Finding::new(Health::Ok, "nameserver", message)
        }
        Err(failure) => {
            let health = match answers_any {
                true => Health::Warning,
                false => Health::Critical,
            };
            let reason = failure.message.as_deref().unwrap_or_default();
            let message = format!("name server {endpoint} does not answer: {reason}");
            let advice = failure.hint.clone();
            let usual = "start it, or take it out of --nameserver";
            Finding::new(health, "nameserver", message)
                .advice(advice.unwrap_or_else(|| usual.to_owned()))
        }
    }
}

/// A warning, unless this program and all name servers have the same version.
fn versions(nameservers: &[(Endpoint, Result<NameServerStatus, String>)]) -> Option<Finding> {
    let own = env!("CARGO_PKG_VERSION");
    let answers = nameservers
        .iter()
        .filter_map(|(_, answer)| answer.as_ref().ok());
    let versions: BTreeSet<&str> = answers.map(|status| status.version.as_str()).collect();
    if versions.iter().all(|version| *version == own) {
        return None;
    }
    let versions: Vec<&str> = versions.into_iter().collect();
    let message = format!(
        "the name servers have version {}, and this program {own}",
        versions.join(" and ")
    );
    let finding = Finding::new(Health::Warning, "nameserver", message);
    Some(finding.advice("use one version everywhere, once an upgrade is over"))
}

fn clock_finding(endpoint: &Endpoint, ahead: i64) -> Finding {
    let sentence = match ahead {
        0 => {
            return Finding::new(
                Health::Ok,
                "clock",
                format!("the clock of {endpoint} is right"),
            );
        }
        ahead if ahead > 0 => {
            format!("the clock of {endpoint} is {ahead} s ahead of this machine's")
        }
        ahead => format!(
            "the clock of {endpoint} is {} s behind this machine's",
            -ahead
        ),
    };
    match ahead.abs() <= CLOCK_TOLERANCE {
        true => Finding::new(Health::Ok, "clock", sentence),
        false => Finding::new(Health::Warning, "clock", sentence)
            .advice("let both machines take the time from NTP"),
    }
}

async fn store(client: &Client) -> Finding {
    match client.count_tasks().await {
        Ok(counts) => {
            let tasks: u64 = counts.iter().map(|(_, count)| count).sum();
            Finding::new(
                Health::Ok,
                "store",
                format!("the store answers: {tasks} tasks"),
            )
        }
        Err(error) => {
            let failure = Failure::from(error);
            let health = match failure.exit {
                // The store is not to blame for what this user may not do.
                Exit::Refused => Health::Warning,
                _ => Health::Critical,
            };
            let reason = failure.message.unwrap_or_default();
            let finding = Finding::new(
                health,
                "store",
                format!("tasks cannot be counted: {reason}"),
            );
            match failure.hint {
                Some(hint) => finding.advice(hint),
                None => finding,
            }
        }
    }
}

/// Connects to a worker, and no more.
async fn reach(endpoint: &str) -> Result<(), String> {
    let endpoint: Endpoint = endpoint.parse().map_err(|error| format!("{error}"))?;
    let connecting = dial(&endpoint, |_| async { Ok::<(), io::Error>(()) });
    let connected = timeout(CONNECT_TIMEOUT, connecting).await;
    let connected = connected.map_err(|_| format!("no answer in {CONNECT_TIMEOUT:?}"))?;
    connected.map_err(|error| error.to_string())
}

fn worker_finding(worker: &WorkerEntry, outcome: Result<(), String>) -> Finding {
    let WorkerEntry { name, endpoint, .. } = worker;
    match outcome {
        Ok(()) => {
            let message = format!("worker {name} at {endpoint} can be reached");
            Finding::new(Health::Ok, "worker", message)
        }
        Err(reason) => {
            let message = format!("worker {name} at {endpoint} cannot be reached: {reason}");
            Finding::new(Health::Warning, "worker", message).advice(format!(
                "see whether it runs on {}, whether a firewall is between, and its --advertise",
                worker.host
            ))
        }
    }
}

/// The certificates that this command uses.
fn certificates(arguments: &ClientArguments) -> Vec<Finding> {
    let files = [&arguments.tls.tls_ca, &arguments.tls.tls_cert];
    let files = files.into_iter().flatten();
    files
        .map(|file| certificate(file, SystemTime::now()))
        .collect()
}

fn certificate(file: &Path, now: SystemTime) -> Finding {
    let subject = "certificate";
    let info = match read(file).and_then(|pem| inspect(&pem)) {
        Ok(info) => info,
        Err(error) => return Finding::new(Health::Critical, subject, error.to_string()),
    };
    let end = info.not_after.duration_since(UNIX_EPOCH);
    let end = u64::try_from(end.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    let file = file.display();
    let (health, verb) = match info.not_after.duration_since(now) {
        Err(_) => (Health::Critical, "ended"),
        Ok(left) if left < SOON => (Health::Warning, "ends"),
        Ok(_) => (Health::Ok, "ends"),
    };
    let message = format!("the certificate in {file} {verb} at {}", local(end));
    let finding = Finding::new(health, subject, message);
    match health {
        Health::Ok => finding,
        _ => finding.advice("make another with 'pyroxene certs issue', or with your own authority"),
    }
}

/// The limit of open files, which a daemon raises as far as it may.
fn open_files() -> Finding {
    let limit = getrlimit(Resource::Nofile).maximum;
    match limit {
        Some(files) if files < OPEN_FILES => {
            let message =
                format!("a process here may open {files} files, and each connection is one");
            Finding::new(Health::Warning, "machine", message).advice(format!(
                "allow daemons {OPEN_FILES} or more: LimitNOFILE= in systemd, or 'ulimit -Hn' in a shell"
            ))
        }
        Some(files) => Finding::new(
            Health::Ok,
            "machine",
            format!("a process here may open {files} files"),
        ),
        None => Finding::new(
            Health::Ok,
            "machine",
            "a process here may open any number of files",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_certs::{CertificateAuthority, CertificateRequest};

    #[test]
    fn a_certificate_that_ends_soon_is_a_warning_and_one_that_has_ended_a_fault() {
        let directory = tempfile::tempdir().unwrap();
        let authority = CertificateAuthority::in_memory().unwrap();
        let issued = authority.issue(&CertificateRequest::new("w1")).unwrap();
        let (file, _) = issued.save(directory.path(), "w1", false).unwrap();
        let end = inspect(&read(&file).unwrap()).unwrap().not_after;
        let day = Duration::from_secs(24 * 60 * 60);
        for (now, health) in [
            (end - 40 * day, Health::Ok),
            (end - 20 * day, Health::Warning),
            (end + day, Health::Critical),
        ] {
            let finding = certificate(&file, now);
            assert_eq!(finding.health, health, "{finding:?}");
            assert_eq!(finding.advice.is_some(), health != Health::Ok);
        }
        let missing = certificate(&directory.path().join("none.crt"), end);
        assert_eq!(missing.health, Health::Critical);
    }

    #[test]
    fn clocks_may_differ_by_two_seconds() {
        let endpoint = "127.0.0.1:9090".parse().unwrap();
        for (ahead, health) in [
            (0, Health::Ok),
            (-2, Health::Ok),
            (3, Health::Warning),
            (-3, Health::Warning),
        ] {
            assert_eq!(clock_finding(&endpoint, ahead).health, health, "{ahead}");
        }
    }
}
