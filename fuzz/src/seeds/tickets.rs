//! Tickets, keys, tokens, patterns and users files.

use super::Seeds;
use crate::targets::tickets::KEY;
use pyroxene_common::identity::{Addressee, Audience, Claims, HolderKey, Identity, Patterns, Role};

pub(super) fn seeds() -> Seeds {
    let holder = HolderKey::from_seed(&[7; 32]).unwrap().id();
    let claims = |allow: &[&str]| Claims {
        identity: Identity {
            name: "ana".into(),
            role: Role::User,
            allow: patterns(allow),
        },
        holder,
        audience: Audience::Domain,
        issued_ms: 1000,
        expires_ms: 2000,
    };
    let of_task = Claims {
        audience: Audience::Task {
            addressee: Addressee::Worker {
                name: "w1".into(),
                key: holder,
            },
            object: "accounts".into(),
            method: "query".into(),
        },
        ..claims(&["accounts"])
    };
    let of_task = KEY.sign(&of_task).unwrap().as_bytes().to_vec();
    let ticket = |allow| KEY.sign(&claims(allow)).unwrap().as_bytes().to_vec();
    let some = claims(&["accounts.q*", "Example.*"]);
    let users = concat!(
        "[users.ana]\nrole = \"user\"\nallow = [\"calculator\", \"accounts.q*\"]\n",
        "token = \"ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"\n",
        "issued = 1000\n\n[users.bob]\nrole = \"worker\"\nallow = []\nissued = 5\nrevoked = 9\n",
        "\n[users.cy]\nrole = \"admin\"\nallow = []\ncertificate = true\nissued = 5\n",
        "\n[removed]\neve = 77\n",
    );
    let zeros = format!("k4.secret.{}", "A".repeat(86));
    vec![
        ("ticket", ticket(&["*"])),
        ("ticket-of-task", of_task),
        ("ticket-of-patterns", ticket(&["accounts.q*", "text"])),
        ("public-key", KEY.public().to_string().into_bytes()),
        ("secret-key", KEY.to_paserk().unwrap().as_bytes().to_vec()),
        ("key-id", KEY.public().id().to_string().into_bytes()),
        (
            "token",
            format!("prx_{}", "ab0-_c".repeat(7) + "A").into_bytes(),
        ),
        ("claims", serde_json::to_vec(&some).unwrap()),
        ("patterns", br#"["*", "accounts.q*"]"#.to_vec()),
        ("users", users.as_bytes().to_vec()),
        ("hostile-zero-key", zeros.into_bytes()),
        ("hostile-pattern", b"a*b*c.q*\naxbxbc\nquery".to_vec()),
        (
            "hostile-stars",
            b"*a*a*a*b\naaaaaaaaaaaaaaaa\naaaaaaaa".to_vec(),
        ),
    ]
}

fn patterns(texts: &[&str]) -> Patterns {
    let patterns: Vec<_> = texts.iter().map(|text| text.parse().unwrap()).collect();
    patterns.try_into().unwrap()
}
