//! What workers say that link this crate, or speak its protocol.

use std::net::SocketAddr;

use rustix::io::Errno;

use super::{
    asks::{Ask, Given, Want},
    channel::Order,
    event::What,
    listening::Listens,
    task::Task,
};
use crate::{
    address::Transport,
    id::WorkerId,
    policy::Acquisition,
    wire::native::{Event, Listen, Wanted},
};

impl Task {
    pub(super) fn native_said(&mut self, worker: WorkerId, event: Event) {
        self.speaks(worker);
        match event {
            Event::Listen(listen) => self.native_listen(worker, &listen),
            Event::Close { key } => self.given_closed(worker, &key),
            Event::Hello { .. } => self.tell(worker, What::Online),
            Event::Leaving => self.leaves_by_itself(worker),
            // Readiness beyond listening has no reader yet. The rest is mapped by the channel.
            Event::Ready => self.says_ready(worker),
            Event::Reply { .. } | Event::Message { .. } | Event::Answer { .. } => {}
        }
    }

    fn native_listen(&mut self, worker: WorkerId, listen: &Listen) {
        let seq = listen.seq;
        let result = want(listen).and_then(|want| {
            let name = name(listen);
            let ask = Ask { name, want, backlog: listen.backlog, by: Acquisition::Native };
            if listen.exclusive {
                self.give_exclusive(worker, &ask)
            } else {
                self.give(worker, &ask)
            }
        });
        match result {
            Ok(Given::Socket { key, fd, .. }) => {
                self.order(worker, Order::NativeSeat { seq, key: key.clone(), fd });
                self.given_listens(worker, &Listens::Key(&key));
            }
            Ok(Given::HandedOver { key, address }) => {
                self.order(worker, Order::NativeHandedOver { seq, key: key.clone(), address });
                self.given_listens(worker, &Listens::Key(&key));
            }
            Err(errno) => {
                self.order(worker, Order::NativeError { seq, errno: errno.raw_os_error() });
            }
        }
    }
}

/// Equal names mean one listener; with port 0 the number of the question counts too.
fn name(listen: &Listen) -> String {
    let index = if listen.wanted.is_any_port() { listen.index } else { 0 };
    format!("native:{:?}:{index}", listen.wanted)
}

fn want(listen: &Listen) -> Result<Want, Errno> {
    if !listen.wanted.is_valid() {
        return Err(Errno::INVAL);
    }
    let inet = |transport, address: SocketAddr, v6only| Want::Inet {
        transport,
        addresses: vec![address],
        v6only,
    };
    Ok(match &listen.wanted {
        Wanted::Tcp { address, v6only } => inet(Transport::Tcp, *address, *v6only),
        Wanted::Udp { address, v6only } => inet(Transport::Udp, *address, *v6only),
        Wanted::Unix { path } => Want::Path { path: path.clone(), add_mode: 0 },
    })
}
