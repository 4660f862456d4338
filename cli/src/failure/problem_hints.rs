//! What the user can do about a problem.

use pyroxene_client::Problem;

/// The hint for a problem.
pub(super) fn hint(problem: Problem) -> &'static str {
    match problem {
        Problem::LimitReached => {
            "see 'pyroxene limits'; an admin raises the limit of a user with 'pyroxene users set'"
        }
        Problem::TlsRequired | Problem::InTheClear => "turn TLS on with --tls-ca FILE",
        Problem::NoTls => "leave out --tls-ca, or start the server with --tls-cert and --tls-key",
        Problem::LoginRequired => {
            "log in with --user NAME and --token-file FILE, or show a certificate with --tls-cert and --tls-key"
        }
        Problem::CertificateRequired => {
            "show a certificate with --tls-cert FILE and --tls-key FILE"
        }
        Problem::UnknownAuthority => "give the authority's certificate with --tls-ca FILE",
        Problem::StaticName => {
            "'pyroxene lookup' shows where it leads, 'pyroxene register' makes it lead to a worker"
        }
        Problem::WrongInterface => "'pyroxene describe OBJECT' shows its interface",
        Problem::NoNameServer => "start one with 'pyroxene up' or 'pyroxene nameserver'",
    }
}
