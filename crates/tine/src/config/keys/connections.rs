//! How many workers there are, and how they share their ports.

use super::{Key, Kind, Place, key};

/// Workers and connections.
pub const CONNECTIONS: &[Key] = &[
    key(
        "instances",
        &[],
        Kind::Instances,
        "1",
        "How many workers: a number, `max` or 0 for one for each CPU, -N for all CPUs but N.",
    )
    .to(Place::With),
    key(
        "exec_mode",
        &[],
        Kind::Mode,
        "",
        "pm2's word, which `tine jlist` shows. Every program shares its ports here, in either mode.",
    )
    .to(Place::With),
    key("policy", &[], Kind::Policy, "rr", "Who gets the next connection."),
    key(
        "mechanism",
        &[],
        Kind::Mechanism,
        "",
        "How that is done; `auto` is the best that this machine and user can have.",
    ),
    key(
        "listen",
        &[],
        Kind::Addresses,
        "",
        "Addresses that are bound before the start and passed as systemd passes sockets.",
    ),
    key(
        "private_ports",
        &["private_port"],
        Kind::Ports,
        "",
        "Ports that each worker binds for itself alone.",
    ),
    key(
        "drain_timeout",
        &[],
        Kind::Duration,
        "30s",
        "How long open connections may take to finish when a worker leaves.",
    ),
    key(
        "health",
        &["health_check"],
        Kind::Health,
        "",
        "How workers are asked whether they are well: a URL or a path, or a table with one of `http`, `tcp` \
         and `exec`, and with `interval` (5s), `timeout` (2s), `threshold` (3) and `grace` (0).",
    ),
    key(
        "after",
        &["depends_on"],
        Kind::Texts,
        "",
        "Apps that must be ready before this one starts.",
    ),
];
