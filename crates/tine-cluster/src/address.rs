//! What a worker listens on.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

/// The kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// A TCP listener.
    Tcp,
    /// A bound UDP socket.
    Udp,
    /// A UNIX listener of connections that are streams of bytes.
    UnixStream,
    /// A UNIX listener of connections that keep message boundaries.
    UnixSeqPacket,
    /// A bound UNIX datagram socket.
    UnixDatagram,
}

impl Transport {
    /// Whether connections are accepted from it; otherwise datagrams are received.
    #[must_use]
    pub const fn listens(self) -> bool {
        match self {
            Self::Tcp | Self::UnixStream | Self::UnixSeqPacket => true,
            Self::Udp | Self::UnixDatagram => false,
        }
    }

    /// `tcp`, `udp` or `unix`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UnixStream | Self::UnixSeqPacket | Self::UnixDatagram => "unix",
        }
    }
}

/// Where it listens. Two workers that name the same endpoint share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// An address of the internet and a port.
    Inet {
        /// As bound; the port is never 0.
        address: SocketAddr,
        /// For `::`: whether IPv4 is left out.
        v6only: bool,
    },
    /// A path of the file system, absolute, without links in its directory.
    Path(#[serde(with = "bytes")] PathBuf),
    /// A name in the abstract namespace of UNIX sockets.
    Abstract(Vec<u8>),
}

impl Endpoint {
    /// The port, for addresses that have one.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Inet { address, .. } => Some(address.port()),
            Self::Path(_) | Self::Abstract(_) => None,
        }
    }

    /// An address of the internet. An IPv4 address in the clothes of IPv6 (`::ffff:127.0.0.1`, what
    /// Java binds) is that address; `v6only` is kept only where it makes a difference.
    #[must_use]
    pub fn inet(address: SocketAddr, v6only: bool) -> Self {
        let address = match address.ip().to_canonical() {
            ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
            // Kept whole, with scope and flow.
            IpAddr::V6(_) => address,
        };
        let any_v6 = matches!(address.ip(), IpAddr::V6(ip) if ip.is_unspecified());
        Self::Inet { address, v6only: v6only && any_v6 }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet { address, v6only: false } => address.fmt(f),
            Self::Inet { address, v6only: true } => write!(f, "{address} (IPv6 only)"),
            Self::Path(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{}", name.escape_ascii()),
        }
    }
}

/// A path as its bytes: it need not be UTF-8.
pub(crate) mod bytes {
    use std::{
        ffi::OsString,
        os::unix::ffi::{OsStrExt, OsStringExt},
        path::{Path, PathBuf},
    };

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(path.as_os_str().as_bytes())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(OsString::from_vec(Vec::deserialize(from)?).into())
    }
}

/// What identifies a listener within an app.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ListenKey {
    /// The kind of socket.
    pub transport: Transport,
    /// Where.
    pub endpoint: Endpoint,
}

impl fmt::Display for ListenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.transport == Transport::Udp {
            return write!(f, "udp:{}", self.endpoint);
        }
        self.endpoint.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_endpoint_however_it_is_written() {
        let mapped = Endpoint::inet("[::ffff:127.0.0.1]:80".parse().unwrap(), false);
        assert_eq!(mapped, Endpoint::inet("127.0.0.1:80".parse().unwrap(), true));
        assert_eq!(mapped.to_string(), "127.0.0.1:80");
        let any = |v6only| Endpoint::inet("[::]:80".parse().unwrap(), v6only);
        assert_ne!(any(true), any(false));
        assert_eq!(any(true).to_string(), "[::]:80 (IPv6 only)");
    }
}
