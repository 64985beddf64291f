//! What the task tells a worker.

use tokio::sync::mpsc;

use super::{ChannelTask, Connection, Order, Session, in_words};
use crate::wire::{lines::QueueFull, node::Answer};

impl ChannelTask {
    /// All that are there, before anything else is read: however fast a worker asks, and whatever woke
    /// its channel, what waits for it is counted before it asks on.
    pub(super) async fn carry_out_all(
        &mut self,
        inbox: &mut mpsc::UnboundedReceiver<Box<Order>>,
    ) -> Result<(), String> {
        while let Ok(order) = inbox.try_recv() {
            self.carry_out(*order).await?;
        }
        Ok(())
    }

    pub(super) async fn carry_out(&mut self, order: Order) -> Result<(), String> {
        self.carried_out += 1;
        match order {
            Order::ReadToEnd => self.ending = true,
            Order::Connection { handed, key, ticket } => {
                self.connections.push_back(Connection { handed, key, ticket });
            }
            other => {
                self.connect_all().await?;
                self.say(other).map_err(in_words)?;
            }
        }
        Ok(())
    }

    fn say(&mut self, order: Order) -> Result<(), QueueFull> {
        match (&mut self.session, order) {
            (Session::Node(node), Order::NodeSeat { seq, key, data, kind, fd }) => {
                node.reply_seat(Answer { seq, key: &key, data: data.as_deref() }, kind, fd)
            }
            (Session::Node(node), Order::NodeRoundRobin { seq, key, data, address }) => {
                node.reply_round_robin(Answer { seq, key: &key, data: data.as_deref() }, address)
            }
            (Session::Node(node), Order::NodeError { seq, data, errno }) => {
                node.reply_error(Answer { seq, key: "", data: data.as_deref() }, errno)
            }
            (Session::Node(node), Order::Acknowledge(seq)) => node.acknowledge(seq),
            (Session::Node(node), Order::Leave) => node.disconnect(),
            (Session::Native(native), Order::NativeSeat { seq, key, fd }) => {
                native.reply_seat(seq, &key, fd)
            }
            (Session::Native(native), Order::NativeHandedOver { seq, key, address }) => {
                native.reply_handed_over(seq, &key, address)
            }
            (Session::Native(native), Order::NativeError { seq, errno }) => {
                native.reply_error(seq, errno)
            }
            (Session::Native(native), Order::Leave) => native.stop(),
            (Session::Native(native), Order::NoAnswer(seq)) => native.reply(seq, None),
            // An order of the other dialect answers a question that this one cannot ask.
            (Session::Node(_) | Session::Native(_), _) => Ok(()),
        }
    }
}
