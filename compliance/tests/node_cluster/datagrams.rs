//! Cases 21 and 22: UDP, which is shared whatever the policy.

use std::collections::BTreeSet;

use compliance::Primary;

use crate::clients::{V4, pids, sockets, udp};

on_all! {
    datagrams_are_answered,
    bind_0_is_one_port_for_all,
    an_address_of_datagrams_can_be_used_again,
    a_socket_closed_before_the_answer_harms_nobody,
}

/// Case 21.
pub(crate) fn datagrams_are_answered(primary: &mut Primary) {
    let script = "
const socket = require('dgram').createSocket('udp4', (message, from) => {
  socket.send(String(process.pid), from.port, from.address);
});
socket.bind(+process.env.PORT, '127.0.0.1');
";
    let port = primary.port();
    let workers = primary.fork_listening(3, script, &[("PORT", &port)]);
    let known = pids(primary, &workers);
    for _ in 0..30 {
        let answer = udp(V4, port).expect("an answer");
        assert!(known.contains(&answer), "{answer} of {known:?}");
    }
    for worker in workers {
        assert_eq!(sockets(primary.pid_of(worker), &["udp"], "07"), 1);
    }
}

/// Case 21.
fn bind_0_is_one_port_for_all(primary: &mut Primary) {
    let script = "
const socket = require('dgram').createSocket('udp4');
socket.bind(0, '127.0.0.1', () => process.send(socket.address().port));
";
    let workers = [(); 3].map(|()| primary.fork(script, &[]));
    let ports = workers.map(|worker| primary.message(worker));
    let port = ports[0].as_u64().and_then(|port| port.try_into().ok()).expect("a port");
    primary.call(port, "PORT");
    assert_eq!(BTreeSet::from(ports.map(|port| port.as_u64())).len(), 1);
}

/// Case 21.
fn an_address_of_datagrams_can_be_used_again(primary: &mut Primary) {
    let script = "
const make = () => require('dgram').createSocket({ type: 'udp4', reuseAddr: true });
const socket = make();
socket.on('message', (message, from) => socket.send('here', from.port, from.address));
socket.bind(+process.env.PORT, '127.0.0.1');
";
    let port = primary.port();
    primary.fork_listening(2, script, &[("PORT", &port)]);
    assert_eq!(udp(V4, port).expect("an answer"), "here");
}

/// Case 22.
fn a_socket_closed_before_the_answer_harms_nobody(primary: &mut Primary) {
    let script = "
const dgram = require('dgram');
dgram.createSocket('udp4').bind(+process.env.PORT, '127.0.0.1').close(() => {
  const next = dgram.createSocket('udp4');
  next.on('message', (message, from) => next.send('here', from.port, from.address));
  next.bind(+process.env.PORT, '127.0.0.1');
});
";
    let port = primary.port();
    primary.fork_listening(1, script, &[("PORT", &port)]);
    assert_eq!(udp(V4, port).expect("an answer"), "here");
}
