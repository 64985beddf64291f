//! Answers `tine ports` for this manager.

use tine_cluster::{
    core::registry::SeatState as Seat,
    primary::{Cluster, ListenerReport, Report, SeatReport},
};
use tokio::sync::mpsc;

use super::narrator::Narrator;
use crate::{
    api::{self, Kind, PortsReport, Request, Response, SeatState},
    control::{self, ControlSocket, Question},
    home::Home,
};

/// Questions that may wait.
const QUESTIONS: usize = 8;

/// Opens the control socket. Without one the app runs as well, but nobody can ask.
pub(super) fn listen(narrator: &mut Narrator) -> mpsc::Receiver<Question> {
    match open() {
        Ok(socket) => {
            let (ask, questions) = mpsc::channel(QUESTIONS);
            tokio::spawn(control::serve(socket, ask));
            questions
        }
        Err(error) => {
            narrator.say(&format!("`tine ports` will not show this app: {error:#}"));
            super::nobody()
        }
    }
}

fn open() -> anyhow::Result<ControlSocket> {
    Ok(ControlSocket::open(&Home::from_env()?.run_dir()?)?)
}

/// Answers when the cluster has.
pub(super) fn answer(app: &str, cluster: &Cluster, question: Question) {
    let (app, cluster) = (app.to_owned(), cluster.clone());
    tokio::spawn(async move {
        let response = match question.request {
            Request::Ports => match cluster.report().await {
                Ok(report) => Response::Ports(ports(app, report)),
                Err(ended) => Response::Error(ended.to_string()),
            },
        };
        // Whoever asked may have gone.
        let _ = question.answer.send(response);
    });
}

/// What `tine ports` shows of an app.
pub(crate) fn ports(app: String, report: Report) -> PortsReport {
    let listeners = report.listeners.into_iter().map(listener).collect();
    PortsReport { manager_pid: std::process::id(), app, listeners }
}

pub(crate) fn listener(listener: ListenerReport) -> api::ListenerReport {
    let kind = match listener.kind.as_str() {
        "udp" => Kind::Udp,
        "unix" => Kind::Unix,
        _ => Kind::Tcp,
    };
    api::ListenerReport {
        address: listener.address,
        kind,
        policy: listener.choice.policy,
        mechanism: listener.choice.mechanism,
        degraded: listener.choice.degraded,
        acquisition: listener.acquisition,
        seats: listener.seats.iter().map(seat).collect(),
    }
}

fn seat(seat: &SeatReport) -> api::SeatReport {
    api::SeatReport {
        worker: seat.worker.map(|worker| worker.0),
        // `tine run` forks nothing beside its instances.
        instance: seat.instance.map_or(u32::MAX, |instance| instance.0),
        pid: seat.pid,
        connections: seat.connections,
        queue: seat.queue,
        state: match seat.state {
            Seat::Joining => SeatState::Joining,
            Seat::InRotation => SeatState::InRotation,
            Seat::Draining => SeatState::Draining,
            Seat::Waiting => SeatState::Waiting,
        },
    }
}
