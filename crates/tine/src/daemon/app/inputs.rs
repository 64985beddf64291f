//! What comes in while no order is taken.

use tine_cluster::primary::{Event, Events};
use tokio::sync::mpsc;

use super::refused::Taken;
use crate::{daemon::order::Query, supervise::guard::Demand};

/// What comes in while no order is taken.
pub(super) struct Inputs {
    pub(super) events: Option<Events>,
    pub(super) queries: mpsc::Receiver<Query>,
    pub(super) demands: mpsc::UnboundedReceiver<Demand>,
    /// Who holds addresses that workers were refused; one for each that is looked for.
    pub(super) holders: (mpsc::UnboundedSender<Taken>, mpsc::UnboundedReceiver<Taken>),
    /// Of the log files. Told once until it is over, so there is little of it.
    pub(super) troubles: (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>),
}

pub(super) enum Input {
    /// `None`: the cluster has ended.
    Event(Option<Event>),
    Query(Query),
    /// With the log files.
    Trouble(String),
    Taken(Taken),
}

impl Inputs {
    /// The next one, or what the guard demands, for which there is time when no order is under way.
    pub(super) async fn next_or_demand(&mut self) -> Result<Input, Demand> {
        let Self { events, queries, demands, holders, troubles } = self;
        tokio::select! {
            input = next(events, queries, (&mut holders.1, &mut troubles.1)) => Ok(input),
            Some(demand) = demands.recv() => Err(demand),
        }
    }

    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Input {
        let found = (&mut self.holders.1, &mut self.troubles.1);
        next(&mut self.events, &mut self.queries, found).await
    }
}

/// Cancel safe.
async fn next(
    events: &mut Option<Events>,
    queries: &mut mpsc::Receiver<Query>,
    (holders, troubles): (
        &mut mpsc::UnboundedReceiver<Taken>,
        &mut mpsc::UnboundedReceiver<String>,
    ),
) -> Input {
    let event = async {
        match events {
            Some(events) => events.next().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        event = event => Input::Event(event),
        Some(query) = queries.recv() => Input::Query(query),
        Some(taken) = holders.recv() => Input::Taken(taken),
        Some(trouble) = troubles.recv() => Input::Trouble(trouble),
    }
}
