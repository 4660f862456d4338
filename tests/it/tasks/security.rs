//! Tasks where everybody has to say who they are, and everything is encrypted.

use super::desk::{echo, sleep};
use crate::harness::{Process, Ran, eventually, seconds, start_command, within, write_private};
use pyroxene_client::{ClientConfig, Credentials, DirectProxy};
use pyroxene_common::{
    interfaces::tasks::{
        self, Submissions, TaskFilter, TaskId, TaskState, Tasks, TasksError, tasks::TasksClient,
    },
    tls::TlsClient,
};
use std::{fs, path::Path};
use tempfile::TempDir;

/// A broker with TLS and users, of one name server and one worker.
struct Fortress {
    dir: TempDir,
    address: String,
    _processes: Vec<Process>,
}

impl Fortress {
    async fn start(own_trust: bool) -> Self {
        let dir = TempDir::new().unwrap();
        let run = async |arguments: &[&str]| Ran::in_dir(dir.path(), arguments).await;
        run(&["certs", "init", "--dir", "."]).await.out();
        for name in ["ns", "w"] {
            run(&["certs", "issue", "--dir", ".", "--name", name])
                .await
                .out();
        }
        for (name, role, allow) in [
            ("ana", "user", "echo"),
            ("bob", "user", "echo.echo"),
            ("eve", "observer", "*"),
            ("w", "worker", "*"),
        ] {
            let flags = ["--role", role, "--allow", allow, "--users", "users.toml"];
            let token = run(&[&["users", "add", name], flags.as_slice()].concat()).await;
            write_private(dir.path().join(format!("{name}.token")), token.out());
        }
        let flags = ["--role", "admin", "--users", "users.toml"];
        let token = run(&[&["users", "add", "root"], flags.as_slice()].concat()).await;
        write_private(dir.path().join("root.token"), token.out());
        let mut flags = vec![
            "--listen=127.0.0.1:0",
            "--store=memory:",
            "--users=users.toml",
        ];
        flags.extend([
            "--tls-cert=ns.crt",
            "--tls-key=ns.key",
            "--exit-with-parent",
        ]);
        if own_trust {
            flags.push("--tls-ca=ca.crt");
        }
        let mut nameserver = start_command(dir.path(), "nameserver", &flags);
        let address = nameserver.ready("ready nameserver").await;
        let at = format!("--nameserver={address}");
        let mut flags = vec!["--name=w1", "--objects=echo", "--exit-with-parent", &at];
        flags.extend(["--tls-cert=w.crt", "--tls-key=w.key", "--tls-ca=ca.crt"]);
        flags.extend(["--user=w", "--token-file=w.token"]);
        let mut worker = start_command(dir.path(), "worker", &flags);
        worker.ready("ready worker w1").await;
        Self {
            dir,
            address,
            _processes: vec![nameserver, worker],
        }
    }

    /// The tasks object, as a user sees it.
    async fn desk(&self, user: &str) -> TasksClient<DirectProxy<Tasks>> {
        let file = |name: &str| self.dir.path().join(name);
        let token = fs::read_to_string(file(&format!("{user}.token"))).unwrap();
        let config = ClientConfig::new(&self.address)
            .unwrap()
            .tls(TlsClient::new(file("ca.crt"), None).unwrap())
            .credentials(Credentials::new(user, &token));
        let endpoint = config.endpoints()[0].clone();
        let direct = DirectProxy::<Tasks>::connect_with(&endpoint, tasks::OBJECT, &config).await;
        direct.unwrap().client()
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }
}

async fn ended(desk: &TasksClient<DirectProxy<Tasks>>, id: &TaskId) -> TaskState {
    eventually("it ends", || async {
        let shown = desk
            .show(within(seconds(5)), id.clone())
            .await
            .unwrap()
            .unwrap();
        shown
            .state
            .is_final()
            .then_some(shown.state)
            .ok_or_else(|| format!("{shown:?}"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_submits_what_they_may_call_and_sees_their_own() {
    let fortress = Fortress::start(true).await;
    let (ana, bob) = (fortress.desk("ana").await, fortress.desk("bob").await);
    let (root, eve) = (fortress.desk("root").await, fortress.desk("eve").await);
    let short = || within(seconds(5));
    let ids = ana
        .submit(short(), Submissions(vec![echo("x")]))
        .await
        .unwrap()
        .unwrap();
    // The dispatcher has a ticket of its own, and the worker takes it.
    assert_eq!(ended(&ana, &ids[0]).await, TaskState::Succeeded);
    let shown = root.show(short(), ids[0].clone()).await.unwrap().unwrap();
    assert_eq!(shown.submitter, "ana");

    let denied = bob
        .submit(short(), Submissions(vec![sleep(seconds(1))]))
        .await
        .unwrap();
    let sentence = "'bob' (user) may not call echo.sleep".to_owned();
    assert_eq!(denied, Err(TasksError::Denied { sentence }));
    for answer in [
        bob.show(short(), ids[0].clone()).await.unwrap().map(|_| ()),
        bob.cancel(short(), ids[0].clone())
            .await
            .unwrap()
            .map(|_| ()),
        bob.wait(short(), ids[0].clone(), None, 0)
            .await
            .unwrap()
            .map(|_| ()),
    ] {
        assert!(
            matches!(answer, Err(TasksError::Denied { .. })),
            "{answer:?}"
        );
    }
    let listed = |desk: TasksClient<DirectProxy<Tasks>>| async move {
        let listed = desk.list(within(seconds(5)), TaskFilter::default()).await;
        listed.unwrap().unwrap().tasks.len()
    };
    assert_eq!(listed(bob).await, 0);
    assert_eq!(listed(ana).await, 1);
    assert_eq!(listed(eve.clone()).await, 1);
    eve.cancel(short(), ids[0].clone()).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_trust_in_the_workers_attempts_say_so() {
    let fortress = Fortress::start(false).await;
    assert!(fortress.dir().join("ca.crt").exists());
    let ana = fortress.desk("ana").await;
    let ids = ana
        .submit(within(seconds(5)), Submissions(vec![echo("x")]))
        .await;
    let id = ids.unwrap().unwrap().remove(0);
    let reason = eventually("an attempt is refused", || async {
        let shown = ana
            .show(within(seconds(5)), id.clone())
            .await
            .unwrap()
            .unwrap();
        let reason = shown.attempts.first().and_then(|one| one.reason.clone());
        reason.ok_or_else(|| format!("{shown:?}"))
    })
    .await;
    assert!(reason.contains("TLS"), "{reason}");
}
