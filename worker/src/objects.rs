//! The objects that every worker can host.
//!
//! Their methods do their work where they are polled. Whoever hosts them asks
//! `is_heavy` of the object's module first, and polls the heavy calls on a thread of the compute
//! pool. Everything else takes well under 20 microseconds in place.

pub mod accounts;
pub mod calculator;
pub mod chat;
pub mod echo;
pub mod hash;
pub mod text;

pub use accounts::{Accounts, AccountsDatabase, AccountsDatabaseError, InvalidAccountsDatabase};
pub use calculator::Calculator;
pub use chat::Chat;
pub use echo::Echo;
pub use hash::Hash;
pub use text::Text;
