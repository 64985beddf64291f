//! `queryServer`: what a Node worker wants to listen on.

use std::{fmt, net::IpAddr, path::PathBuf};

use serde::{Deserialize, Deserializer};
use serde_json::{Value, value::RawValue};
use thiserror::Error;

/// A worker's question for a listener, or the news that it now listens (then with the bound port).
///
/// Node leaves out, nulls and mixes the types of nearly every field; what arrived is kept as it
/// arrived, because [`Self::server_key`] depends on it, and is interpreted by [`Self::address`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueryServer {
    #[serde(deserialize_with = "number_or_zero")]
    index: u64,
    data: Option<Box<RawValue>>,
    #[serde(deserialize_with = "present")]
    address: Field,
    #[serde(deserialize_with = "present")]
    port: Field,
    #[serde(deserialize_with = "present")]
    address_type: Field,
    #[serde(deserialize_with = "present")]
    fd: Field,
    flags: Value,
    backlog: Value,
    readable_all: Value,
    writable_all: Value,
}

/// Absent (`undefined` in JavaScript), or some JSON value, `null` among them.
type Field = Option<Value>;

fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Field, D::Error> {
    Value::deserialize(from).map(Some)
}

fn number_or_zero<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Ok(Value::deserialize(from)?.as_u64().unwrap_or(0))
}

/// Two questions with equal keys want one listener.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey(String);

impl ServerKey {
    /// As Node's own primary writes it, `address:port:addressType:fd`, with the index if the port is 0.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP listener.
    Tcp {
        /// `None`: no host was given. Node then tries `::` and, on any error, `0.0.0.0`.
        host: Option<Host>,
        /// 0: any, the same one in all workers.
        port: u16,
        /// `ipv6Only`; meaningless for IPv4.
        v6only: bool,
    },
    /// A UNIX stream socket.
    Unix {
        /// Absolute: the worker has resolved it with its own working directory.
        path: PathBuf,
        /// `chmod a+r` after binding.
        readable_all: bool,
        /// `chmod a+w` after binding.
        writable_all: bool,
    },
    /// A datagram socket. Always shared, whatever the policy.
    Udp {
        /// `None` only if the worker gave none.
        host: Option<Host>,
        /// `None`: the worker gave no port; like 0, but not part of the key.
        port: Option<u16>,
        /// `udp6`.
        v6: bool,
        /// The socket options asked for.
        flags: UdpFlags,
    },
    /// A descriptor of the *primary*, by its number (`listen({fd})`). To be looked up in a table of
    /// sockets declared for this app; never one of the primary's own.
    Fd {
        /// The number.
        number: u32,
        /// A datagram socket is wanted.
        datagram: bool,
    },
}

/// An address with the scope that a link-local one needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The address.
    pub ip: IpAddr,
    /// What followed the `%`: the name or the number of an interface.
    pub scope: Option<String>,
}

/// Options of a datagram socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpFlags {
    /// `IPV6_V6ONLY`.
    pub v6only: bool,
    /// `SO_REUSEADDR`.
    pub reuse_addr: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
}

/// A question that names nothing that could be bound. To be answered with `-22` (`EINVAL`).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadAddress {
    /// The address type is none that Node has.
    #[error("{0} is no address type")]
    Type(String),
    /// The address is neither an IP address nor absent.
    #[error("{0} is no IP address")]
    Host(String),
    /// The address and the address type contradict each other.
    #[error("{address} is not of address type {kind}")]
    Family {
        /// What was to be bound.
        address: IpAddr,
        /// As the worker said it.
        kind: String,
    },
    /// Not a number from 0 to 65535.
    #[error("{0} is no port")]
    Port(String),
    /// Not absolute, or with a NUL in it. Node cannot listen on abstract sockets in a cluster.
    #[error("{0} is no absolute path")]
    Path(String),
    /// Not a number of a descriptor.
    #[error("{0} is no descriptor")]
    Fd(String),
}

impl QueryServer {
    /// Decides which questions mean the same listener. Node ≥ 22's rule, which holds for workers of
    /// all versions: the index of the `listen()` call counts only when the port is 0.
    ///
    /// See `lib/internal/cluster/primary.js`, `queryServer`.
    #[must_use]
    pub fn server_key(&self) -> ServerKey {
        let mut key = [&self.address, &self.port, &self.address_type, &self.fd]
            .map(|field| template(field.as_ref()))
            .join(":");
        if self.port.as_ref().and_then(Value::as_u64) == Some(0) {
            key.push(':');
            key.push_str(&self.index.to_string());
        }
        ServerKey(key)
    }

    /// What is to be bound.
    ///
    /// # Errors
    ///
    /// When it cannot be made out; the worker is then told `-22`.
    pub fn address(&self) -> Result<Address, BadAddress> {
        let kind = template(self.address_type.as_ref());
        if let Some(number) = self.descriptor()? {
            return Ok(Address::Fd { number, datagram: kind.starts_with("udp") });
        }
        match kind.as_str() {
            "4" | "6" => Ok(Address::Tcp {
                host: self.host(&kind)?,
                port: self.port()?.unwrap_or(0),
                v6only: self.flags() & 1 != 0,
            }),
            "-1" => self.unix(),
            "udp4" | "udp6" => Ok(Address::Udp {
                host: self.host(&kind)?,
                port: self.port()?,
                v6: kind == "udp6",
                flags: self.udp_flags(),
            }),
            _ => Err(BadAddress::Type(kind)),
        }
    }

    /// How many connections may wait; `None` if the worker leaves it to the primary (Node: 511).
    #[must_use]
    pub fn backlog(&self) -> Option<u32> {
        let asked = self.backlog.as_u64().filter(|&asked| asked > 0)?;
        Some(u32::try_from(asked).unwrap_or(u32::MAX))
    }

    /// The first worker's is kept with the listener and returned to all, with errors too: TLS
    /// workers share their ticket keys in this way, and crash without.
    #[must_use]
    pub fn data(&self) -> Option<&RawValue> {
        self.data.as_deref()
    }

    fn flags(&self) -> u64 {
        self.flags.as_u64().unwrap_or(0)
    }

    fn udp_flags(&self) -> UdpFlags {
        let is_set = |bit| self.flags() & bit != 0;
        UdpFlags { v6only: is_set(1), reuse_addr: is_set(4), reuse_port: is_set(8) }
    }

    fn descriptor(&self) -> Result<Option<u32>, BadAddress> {
        match &self.fd {
            None | Some(Value::Null) => Ok(None),
            Some(fd) if fd.as_i64() == Some(-1) => Ok(None),
            Some(fd) => {
                let number = fd.as_u64().and_then(|fd| u32::try_from(fd).ok());
                number.map(Some).ok_or_else(|| BadAddress::Fd(fd.to_string()))
            }
        }
    }

    fn port(&self) -> Result<Option<u16>, BadAddress> {
        let port = match &self.port {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(digits)) => digits.parse().ok(),
            Some(other) => other.as_u64().and_then(|port| u16::try_from(port).ok()),
        };
        port.map(Some).ok_or_else(|| BadAddress::Port(template(self.port.as_ref())))
    }

    fn host(&self, kind: &str) -> Result<Option<Host>, BadAddress> {
        let text = match &self.address {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text,
            Some(other) => return Err(BadAddress::Host(other.to_string())),
        };
        let (ip, scope) = match text.split_once('%') {
            Some((ip, scope)) => (ip, Some(scope.to_owned())),
            None => (text.as_str(), None),
        };
        let address: IpAddr = ip.parse().map_err(|_| BadAddress::Host(text.clone()))?;
        if address.is_ipv6() != kind.ends_with('6') {
            return Err(BadAddress::Family { address, kind: kind.to_owned() });
        }
        Ok(Some(Host { ip: address, scope }))
    }

    fn unix(&self) -> Result<Address, BadAddress> {
        let path = template(self.address.as_ref());
        if !path.starts_with('/') || path.contains('\0') {
            return Err(BadAddress::Path(path));
        }
        Ok(Address::Unix {
            path: path.into(),
            readable_all: truthy(&self.readable_all),
            writable_all: truthy(&self.writable_all),
        })
    }
}

/// As a JavaScript template literal shows it.
fn template(field: Option<&Value>) -> String {
    match field {
        None => "undefined".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(json: &str) -> QueryServer {
        serde_json::from_str(json).unwrap()
    }

    fn tcp(host: Option<&str>, port: u16, v6only: bool) -> Address {
        let host = host.map(|ip| Host { ip: ip.parse().unwrap(), scope: None });
        Address::Tcp { host, port, v6only }
    }

    #[test]
    fn every_shape_that_node_sends_is_understood() {
        let unix = query(
            r#"{"index":0,"data":null,"address":"/abs/rel.sock","port":-1,"addressType":-1,"backlog":0,"writableAll":true}"#,
        );
        let path = PathBuf::from("/abs/rel.sock");
        assert_eq!(
            unix.address(),
            Ok(Address::Unix { path, readable_all: false, writable_all: true })
        );
        let cases = [
            (
                r#"{"index":0,"data":null,"address":"127.0.0.1","port":23401,"addressType":4,"flags":0,"backlog":false,"seq":1}"#,
                tcp(Some("127.0.0.1"), 23401, false),
            ),
            (
                r#"{"index":0,"data":null,"address":null,"port":0,"addressType":4,"backlog":0,"seq":1}"#,
                tcp(None, 0, false),
            ),
            (
                r#"{"index":0,"data":null,"address":"::","port":23390,"addressType":6,"flags":1,"backlog":7}"#,
                tcp(Some("::"), 23390, true),
            ),
            (
                r#"{"index":0,"data":null,"address":null,"port":null,"addressType":null,"fd":5,"backlog":0}"#,
                Address::Fd { number: 5, datagram: false },
            ),
            (
                r#"{"index":0,"data":null,"address":null,"port":null,"addressType":"udp4","fd":6,"flags":null}"#,
                Address::Fd { number: 6, datagram: true },
            ),
            (
                r#"{"index":0,"data":null,"address":"0.0.0.0","addressType":"udp4","fd":-1,"flags":0}"#,
                Address::Udp {
                    host: Some(Host { ip: "0.0.0.0".parse().unwrap(), scope: None }),
                    port: None,
                    v6: false,
                    flags: UdpFlags::default(),
                },
            ),
            (
                r#"{"index":0,"data":null,"address":"fe80::1%eth0","port":"23390","addressType":"udp6","fd":-1,"flags":5}"#,
                Address::Udp {
                    host: Some(Host {
                        ip: "fe80::1".parse().unwrap(),
                        scope: Some("eth0".to_owned()),
                    }),
                    port: Some(23390),
                    v6: true,
                    flags: UdpFlags { v6only: true, reuse_addr: true, reuse_port: false },
                },
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(query(json).address(), Ok(expected), "{json}");
        }
    }

    #[test]
    fn the_index_is_part_of_the_key_only_for_port_0() {
        let key = |json| query(json).server_key().to_string();
        assert_eq!(
            key(r#"{"index":3,"address":"127.0.0.1","port":80,"addressType":4}"#),
            "127.0.0.1:80:4:undefined"
        );
        assert_eq!(
            key(r#"{"index":3,"address":null,"port":0,"addressType":4}"#),
            "null:0:4:undefined:3"
        );
        assert_eq!(
            key(r#"{"index":3,"address":"0.0.0.0","addressType":"udp4","fd":-1}"#),
            "0.0.0.0:undefined:udp4:-1"
        );
    }

    #[test]
    fn the_backlog_may_be_a_number_false_or_absent() {
        assert_eq!(query(r#"{"backlog":7}"#).backlog(), Some(7));
        for none in [r#"{"backlog":false}"#, r#"{"backlog":0}"#, r#"{"backlog":null}"#, "{}"] {
            assert_eq!(query(none).backlog(), None, "{none}");
        }
    }

    #[test]
    fn what_cannot_be_bound_is_refused_by_name() {
        let refusal = |json| query(json).address().unwrap_err().to_string();
        assert_eq!(refusal("{}"), "undefined is no address type");
        assert_eq!(refusal(r#"{"addressType":4,"address":"host"}"#), "host is no IP address");
        assert_eq!(refusal(r#"{"addressType":4,"address":"::"}"#), ":: is not of address type 4");
        assert_eq!(refusal(r#"{"addressType":4,"port":65536}"#), "65536 is no port");
        assert_eq!(refusal(r#"{"addressType":-1,"address":"a"}"#), "a is no absolute path");
        assert_eq!(refusal(r#"{"fd":-7}"#), "-7 is no descriptor");
        assert_eq!(
            refusal("{\"addressType\":-1,\"address\":\"/cwd/\\u0000x\"}"),
            "/cwd/\0x is no absolute path"
        );
    }
}
