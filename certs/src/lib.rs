//! A small certificate authority for brokers. Nothing is here yet; no other crate depends on this
//! one, and daemons refuse to listen beyond loopback unless they are told to be insecure.
