//! How unmodified programs come to their sockets: what they do by themselves must hold under tine.
#![forbid(unsafe_code)]

#[path = "acquisition/support.rs"]
mod support;

#[path = "acquisition/closing.rs"]
mod closing;
#[path = "acquisition/declared.rs"]
mod declared;
#[path = "acquisition/errors.rs"]
mod errors;
#[path = "acquisition/inet.rs"]
mod inet;
#[path = "acquisition/native.rs"]
mod native;
#[path = "acquisition/unix.rs"]
mod unix;
#[path = "acquisition/without.rs"]
mod without;
#[path = "acquisition/wrapped.rs"]
mod wrapped;
