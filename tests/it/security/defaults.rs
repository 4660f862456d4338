//! Nobody opens a broker to other machines by mistake.

use crate::harness::{Broker, Keys, Ran, start_command};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_do_not_open_up_to_other_machines_by_mistake() {
    let broker = Broker::start().await;
    let keys = Keys::in_dir(broker.dir());
    keys.issue("server", None);
    keys.add("host", "worker", &[]).await;
    let everywhere = ["--listen", "0.0.0.0:0"];
    let (certificate, login) = (keys.show("server"), keys.log_in("host"));
    let users = ["--users".to_owned(), keys.path("users.toml")];
    let (with_tls, with_authentication) = ("--tls-cert FILE --tls-key FILE", "--users FILE");
    for (daemon, flags, missing, hints) in [
        (
            "nameserver",
            &[][..],
            "TLS and authentication",
            &[with_tls, with_authentication][..],
        ),
        (
            "nameserver",
            &certificate,
            "authentication",
            &[with_authentication],
        ),
        ("nameserver", &users, "TLS", &[with_tls]),
        (
            "worker",
            &[],
            "TLS and authentication",
            &[with_tls, "--user NAME"],
        ),
        ("worker", &certificate, "authentication", &["--user NAME"]),
        ("worker", &login, "TLS", &[with_tls]),
        (
            "up",
            &[],
            "TLS and authentication",
            &[with_tls, with_authentication],
        ),
    ] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let ran = Ran::in_dir(broker.dir(), &[&[daemon], &everywhere[..], &flags].concat()).await;
        let expected = format!("other machines could reach 0.0.0.0:0 without {missing}");
        assert_eq!(ran.error(2), expected, "{ran:?}");
        for flag in hints {
            assert!(ran.hint().contains(flag), "{ran:?}");
        }
        assert!(ran.hint().contains("--insecure"), "{ran:?}");
    }
    for daemon in ["nameserver", "worker"] {
        let flags = [&everywhere[..], &["--insecure", "--exit-with-parent"]].concat();
        let mut process = match daemon {
            "worker" => broker.start_command(daemon, &[&flags[..], &["--name", "w1"]].concat()),
            _ => start_command(broker.dir(), daemon, &flags),
        };
        let words = if daemon == "worker" {
            "ready worker w1"
        } else {
            "ready nameserver"
        };
        let address = process.ready(words).await;
        assert!(address.starts_with("0.0.0.0:"), "{address}");
    }
}
