//! Who may do what, and what becomes of those who try otherwise: on real processes.

mod certificates;
mod defaults;
mod delegation;
mod domain_key;
mod downgrade;
mod floods;
mod mutual_tls;
mod permissions;
mod renewal;
mod replay;
mod revocation;
mod rotation;
mod secrets;
mod static_names;
pub(crate) mod strangers;
mod tickets;
mod workers;
