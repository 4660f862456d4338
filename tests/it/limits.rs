//! What one user can take from the others, and what is refused beyond that.

mod attempts;
mod logins;
mod logs;
