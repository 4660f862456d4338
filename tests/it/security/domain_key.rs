//! The key that signs tickets, in the wrong hands, and what it signs that nobody may have.

use super::strangers::{at, hello, own_key, say, show};
use crate::harness::{SecuredBroker, eventually, eventually_within, seconds, write_private};
use pyroxene_common::{
    hello::RefusalCode,
    identity::{Addressee, Audience, Claims, DomainKey, Identity, Patterns, Role, Ticket},
    interfaces::directory::{self, Directory},
};
use pyroxene_objects::interfaces::echo::Echo;
use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

/// The domain key, as a thief of its file has it.
fn stolen(broker: &SecuredBroker) -> DomainKey {
    let text = fs::read_to_string(broker.keys.path("users.toml.key")).unwrap();
    DomainKey::from_paserk(text.trim()).unwrap()
}

/// A ticket for an admin of this name that is good for an hour.
fn forged(key: &DomainKey, name: &str) -> Ticket {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let issued_ms = u64::try_from(now.as_millis()).unwrap();
    let claims = Claims {
        identity: Identity {
            name: name.to_owned(),
            role: Role::Admin,
            allow: Patterns::any(),
        },
        holder: own_key().id(),
        audience: Audience::Domain,
        issued_ms,
        expires_ms: issued_ms + 3_600_000,
    };
    key.sign(&claims).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_key_that_was_replaced_is_worthless_at_daemons_that_run() {
    let mut broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let (nameserver, worker) = (broker.addresses(), broker.worker("w1").address().to_owned());
    let key = stolen(&broker);
    let ticket = forged(&key, "nobody");
    let at_nameserver = || {
        let shown = (ticket.as_bytes(), Addressee::NameServer);
        hello::<Directory>(directory::OBJECT, Some(shown))
    };
    show(&worker, ticket.as_bytes()).await.unwrap();
    say(&nameserver, &at_nameserver()).await.unwrap();

    broker.keys.users(&["rotate-key"]).await.out();
    let expected = "the ticket is from another domain: its name servers have another key";
    eventually_within(seconds(8), "both refuse what it signed", || async {
        for refused in [
            show(&worker, ticket.as_bytes()).await.err(),
            say(&nameserver, &at_nameserver()).await.err(),
        ] {
            let refused = refused.ok_or("it is good")?;
            if refused.message != expected {
                return Err(refused.message);
            }
        }
        Ok(())
    })
    .await;
    let fresh = forged(&key, "nobody");
    show(&worker, fresh.as_bytes()).await.unwrap_err();
    // Everybody else logs in anew and goes on.
    broker.nameserver(0).lists("w1").await;
    eventually("calls go on", || async {
        let ran = broker.run_as("ana", &["call", "echo", "whoami"]).await;
        (ran.code == Some(0)).then_some(()).ok_or(ran.stderr)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_key_that_was_replaced_is_worthless_also_while_another_name_server_is_dead() {
    let mut broker = SecuredBroker::with_tokens()
        .nameservers(2)
        .worker("w1", &[])
        .await;
    broker.nameserver(0).lists("w1").await;
    broker.nameserver(1).lists("w1").await;
    let worker = broker.worker("w1").address().to_owned();
    let old_file = fs::read_to_string(broker.keys.path("users.toml.key")).unwrap();
    let ticket = forged(&stolen(&broker), "nobody");
    show(&worker, ticket.as_bytes()).await.unwrap();

    broker.nameserver(1).kill().await;
    broker.keys.users(&["rotate-key"]).await.out();
    let expected = "the ticket is from another domain: its name servers have another key";
    let is_void = || async {
        let refused = show(&worker, ticket.as_bytes()).await.err();
        let refused = refused.ok_or("it is good")?;
        (refused.message == expected)
            .then_some(())
            .ok_or(refused.message)
    };
    eventually_within(seconds(8), "the worker refuses what it signed", is_void).await;

    // The dead one comes back with the file of before: nothing that it signs is good here.
    let key = broker.keys.path("users.toml.key");
    let new_file = fs::read_to_string(&key).unwrap();
    assert_ne!(old_file, new_file);
    let aside = format!("{key}.new");
    fs::rename(&key, &aside).unwrap();
    write_private(&key, &old_file);
    broker.nameserver(1).restart().await;
    fs::rename(&aside, &key).unwrap();
    is_void().await.unwrap();
    // It reads the new one, and the worker is with it again.
    broker.nameserver(1).lists("w1").await;
    is_void().await.unwrap();
    eventually("calls go on", || async {
        let ran = broker.run_as("ana", &["call", "echo", "whoami"]).await;
        (ran.code == Some(0)).then_some(()).ok_or(ran.stderr)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_comes_over_a_socket_in_the_name_of_the_name_server() {
    let mut broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let worker = broker.worker("w1").address().to_owned();
    let ticket = forged(&stolen(&broker), "pyroxene:nameserver");
    let ticket = ticket.as_bytes();
    for (address, hello) in [
        (&worker, hello::<Echo>("echo", Some((ticket, at(&worker))))),
        (
            &broker.addresses(),
            hello::<Directory>(directory::OBJECT, Some((ticket, Addressee::NameServer))),
        ),
    ] {
        let refused = say(address, &hello).await.unwrap_err();
        assert_eq!(refused.code, RefusalCode::BadCredential);
        let expected = "the ticket has a name that no user can have";
        assert_eq!(refused.message, expected);
    }
}
