//! Who may do what, and what becomes of those who try otherwise: on real processes.

mod certificates;
mod defaults;
mod delegation;
mod domain_key;
mod downgrade;
mod floods;
mod handshakes;
mod impostors;
mod mutual_tls;
mod permissions;
mod private_files;
mod renewal;
mod replay;
mod revocation;
mod roles;
mod rotation;
mod secrets;
mod static_names;
pub(crate) mod strangers;
mod terminal;
mod tickets;
mod workers;
