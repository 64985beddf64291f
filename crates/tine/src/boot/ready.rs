//! Tells a service manager that the service is up, as `sd_notify(3)` does.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Says that the service has started, if whoever started it wants to know (`NOTIFY_SOCKET`).
///
/// # Errors
///
/// When it wants to know, and cannot be told.
pub fn ready() -> io::Result<()> {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    // `@` stands for the zero byte of an abstract address.
    let address = match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
        _ => SocketAddr::from_pathname(&name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address).map(drop)
}
