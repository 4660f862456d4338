//! Durable tasks on real processes: what becomes of them when workers, name servers and databases
//! break.

mod batches;
mod broken_nameservers;
mod broken_stores;
mod broken_workers;
pub(crate) mod desk;
mod full_disks;
mod life;
mod names;
mod promotion;
mod security;
mod unread;
