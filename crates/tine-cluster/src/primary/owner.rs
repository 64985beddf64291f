//! What the owner of a cluster can do with its workers, one by one.

use std::{collections::BTreeSet, io, sync::Arc, time::Instant};

use rustix::{io::Errno, process::Signal};
use thiserror::Error;
use tine_linux::spawn::SpawnError;
use tokio::sync::oneshot;

use super::{
    Cluster, Ended, Fork, Program, Tuning, WorkerReport,
    event::What,
    input::{Command, Leavers},
    restarting::{Done, InstanceError},
    settings::ProgramKind,
    task::Task,
    worker::{Talk, Worker},
};
use crate::{
    core::{
        instance::Place,
        worker::{Event as LifeEvent, Life},
    },
    id::{Instance, WorkerId},
};

/// Why nothing was done for a worker.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The cluster has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// It has gone, or there never was one.
    #[error("there is no worker {0}")]
    NoSuchWorker(WorkerId),
    /// The cluster is coming to its end.
    #[error("the cluster is stopping")]
    Stopping,
    /// The workers are being replaced, each in its place.
    #[error("a reload is under way")]
    Reloading,
    /// The kernel refused.
    #[error("send the signal")]
    Signal(#[source] io::Error),
}

/// Why there is not one more worker.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ForkError {
    /// The cluster has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The cluster is coming to its end.
    #[error("the cluster is stopping")]
    Stopping,
    /// Its program could not be started.
    #[error("start the worker")]
    NotStarted(#[from] SpawnError),
}

impl Cluster {
    /// Starts one more worker, beside the instances: Node's `cluster.fork()`. When it ends, no other
    /// takes its place: that is for the owner to do, at [`What::Exited`].
    ///
    /// A cluster that has forked lives until it is stopped, or its last handle is dropped.
    ///
    /// # Errors
    ///
    /// With the step of the start that failed. There is no event then.
    pub async fn fork(&self, fork: Fork) -> Result<WorkerId, ForkError> {
        self.ask(|answer| Command::Fork(Box::new(fork), answer)).await?
    }

    /// Starts another program from now on, in forks and replacements: Node's `cluster.setupPrimary()`.
    /// Workers that run are left alone. [`What::Setup`] tells that it holds.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn setup(&self, program: Program) -> Result<(), Ended> {
        self.order(Command::Setup(Box::new(program))).await
    }

    /// Goes on with these settings. They hold for what happens from now on: a wait or a deadline that has
    /// begun stays as it is, and who is ready stays ready.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn configure(&self, tuning: Tuning) -> Result<(), Ended> {
        self.order(Command::Configure(Box::new(tuning))).await
    }

    /// Asks a worker to close its listeners, finish its connections and exit, and returns when nothing
    /// is left of it: Node's `worker.disconnect()`. It is not replaced.
    ///
    /// Node waits for ever. Here a worker that has not ended after
    /// [`Patience::drain`](crate::core::worker::Patience) gets the stop signal, and is killed in the
    /// end. A program without a channel gets the stop signal when its connections have ended.
    ///
    /// The worker leaves even if the future is dropped.
    ///
    /// # Errors
    ///
    /// When there is no such worker.
    pub async fn disconnect(&self, worker: WorkerId) -> Result<(), WorkerError> {
        self.ask(|gone| Command::Disconnect(Leavers::One(worker), gone)).await?
    }

    /// [`Self::disconnect`] for all workers, which leave at the same time: Node's
    /// `cluster.disconnect()`. No instance is filled any more; workers can still be forked.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn disconnect_all(&self) -> Result<(), WorkerError> {
        self.ask(|gone| Command::Disconnect(Leavers::All, gone)).await?
    }

    /// Keeps so many workers running from now on, beside those that were forked. New instances are
    /// filled at once. If there are fewer, the highest leave: out of rotation first, then finishing
    /// their connections, then stopped, as at [`Cluster::stop`]; this returns when nothing is left of
    /// them. An instance that comes back is not filled before its last worker is gone.
    ///
    /// A cluster that was scaled lives until it is stopped, or its last handle is dropped.
    ///
    /// # Errors
    ///
    /// When it is stopping, or has ended, or a [reload](Cluster::reload) is under way.
    pub async fn scale(&self, instances: u32) -> Result<(), WorkerError> {
        self.ask(|done| Command::Scale(instances, done)).await?
    }

    /// Sends a signal to the first process of a worker, without waiting for anything to finish: Node's
    /// `worker.kill()`, where the signal is `SIGTERM` unless said. An instance is filled again.
    ///
    /// # Errors
    ///
    /// When there is no such worker, or it is not this user's any more.
    pub async fn kill_worker(&self, worker: WorkerId, signal: Signal) -> Result<(), WorkerError> {
        self.ask(|done| Command::SignalOne(worker, signal, done)).await?
    }

    /// Every worker, by number: Node's `cluster.workers`. One that has ended stays until its last line
    /// and message are told.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn workers(&self) -> Result<Vec<WorkerReport>, Ended> {
        Ok(self.report().await?.workers)
    }

    pub(super) async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Ended> {
        let (answer, answered) = oneshot::channel();
        self.order(question(answer)).await?;
        // A request that found room in the moment of the end lies there unread, and its answer with it.
        tokio::select! {
            biased;
            answer = answered => answer.map_err(|_| Ended),
            () = self.commands.closed() => Err(Ended),
        }
    }
}

/// Somebody who waits until workers are gone.
#[derive(Debug)]
pub(super) struct Waiter {
    left: BTreeSet<WorkerId>,
    gone: Gone,
}

/// Who waits, in what terms.
#[derive(Debug)]
enum Gone {
    Workers(oneshot::Sender<Result<(), WorkerError>>),
    Instance(Done),
}

impl Waiter {
    const fn for_workers(gone: oneshot::Sender<Result<(), WorkerError>>) -> Self {
        Self { left: BTreeSet::new(), gone: Gone::Workers(gone) }
    }

    pub(super) const fn for_instance(gone: Done) -> Self {
        Self { left: BTreeSet::new(), gone: Gone::Instance(gone) }
    }

    /// Whoever waited may have given up.
    fn tell(self) {
        match self.gone {
            Gone::Workers(gone) => drop(gone.send(Ok(()))),
            Gone::Instance(gone) => drop(gone.send(Ok(()))),
        }
    }
}

impl Task {
    pub(super) fn fork(&mut self, fork: Fork) -> Result<WorkerId, ForkError> {
        if self.stopping {
            return Err(ForkError::Stopping);
        }
        self.lives_on = true;
        let program = with_env(fork, &self.program);
        let id = self.start_worker(None, &program)?;
        self.runs(id);
        Ok(id)
    }

    pub(super) fn setup(&mut self, program: Program) {
        self.program = Arc::new(program);
        self.tell(WorkerId(0), What::Setup);
    }

    pub(super) fn disconnect(
        &mut self,
        who: Leavers,
        gone: oneshot::Sender<Result<(), WorkerError>>,
    ) {
        let left: BTreeSet<WorkerId> = match who {
            Leavers::One(worker) if self.is_there(worker) => [worker].into(),
            Leavers::One(worker) => {
                let _ = gone.send(Err(WorkerError::NoSuchWorker(worker)));
                return;
            }
            Leavers::All => {
                self.places.iter_mut().for_each(Place::cancel);
                self.abandon_restarts(|_| true, |_| InstanceError::Stopping);
                self.workers.keys().copied().filter(|worker| self.is_there(*worker)).collect()
            }
        };
        for worker in &left {
            self.disconnect_one(*worker);
        }
        self.when_gone(left, Waiter::for_workers(gone));
    }

    pub(super) fn scale(&mut self, instances: u32, gone: oneshot::Sender<Result<(), WorkerError>>) {
        let refusal = match (self.stopping, &self.rolling) {
            (true, _) => Some(WorkerError::Stopping),
            (false, Some(_)) => Some(WorkerError::Reloading),
            (false, None) => None,
        };
        if let Some(error) = refusal {
            let _ = gone.send(Err(error));
            return;
        }
        self.lives_on = true;
        self.settings.instances = instances;
        let surplus = |instance: Instance| instance.0 >= instances;
        self.abandon_restarts(surplus, InstanceError::Unknown);
        let wanted = usize::try_from(instances).unwrap_or(usize::MAX);
        // They are filled when it is looked what is due, after this.
        self.places.resize_with(wanted, || Place::wanted(Instant::now()));
        let surplus = |worker: &&Worker| {
            worker.instance.filled().is_some_and(|instance| instance.0 >= instances)
                && worker.life != Life::Gone
        };
        let left: BTreeSet<WorkerId> =
            self.workers.values().filter(surplus).map(|worker| worker.id).collect();
        for worker in &left {
            self.ask_to_go(*worker);
        }
        self.when_gone(left, Waiter::for_workers(gone));
    }

    /// Tells when nothing is left of these workers.
    pub(super) fn when_gone(&mut self, left: BTreeSet<WorkerId>, waiter: Waiter) {
        self.waiters.push(Waiter { left, ..waiter });
        self.tell_waiters();
    }

    fn is_there(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|worker| worker.life != Life::Gone)
    }

    fn disconnect_one(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.asked = true;
        if !worker.can_be_told_to_leave() {
            return self.step(id, LifeEvent::Stop);
        }
        worker.disconnecting = true;
        worker.exited_after_disconnect = true;
        self.step(id, LifeEvent::Disconnect);
        self.look_at(id);
    }

    /// Nothing is left of the worker.
    pub(super) fn gone(&mut self, worker: WorkerId) {
        for waiter in &mut self.waiters {
            waiter.left.remove(&worker);
        }
        self.tell_waiters();
    }

    fn tell_waiters(&mut self) {
        self.waiters.extract_if(.., |waiter| waiter.left.is_empty()).for_each(Waiter::tell);
    }

    pub(super) fn signal_one(&self, id: WorkerId, signal: Signal) -> Result<(), WorkerError> {
        let no_such_worker = WorkerError::NoSuchWorker(id);
        let worker = self.workers.get(&id).filter(|worker| worker.exit.is_none());
        match worker.ok_or(no_such_worker)?.process.signal(signal) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => {
                Err(WorkerError::NoSuchWorker(id))
            }
            other => other.map_err(WorkerError::Signal),
        }
    }

    /// Tells all handles who can be written to.
    pub(super) fn publish(&self) {
        let open = self
            .workers
            .values()
            .filter_map(|worker| Some((worker.id, worker.channel.as_ref()?.mailbox(worker.id))));
        self.mailboxes.send_replace(open.collect());
    }
}

impl Worker {
    /// Whether its program is known to listen to its channel. Node always does, though it may not have
    /// come to it yet.
    fn can_be_told_to_leave(&self) -> bool {
        self.channel.is_some() && (self.kind == ProgramKind::Node || self.talk == Talk::Speaks)
    }

    /// Node's `isConnected()`.
    pub(super) fn is_connected(&self) -> bool {
        self.channel.is_some() && (self.kind == ProgramKind::Node || self.talk != Talk::Silent)
    }
}

/// The fork's own program, with its own variables.
fn with_env(fork: Fork, common: &Arc<Program>) -> Arc<Program> {
    if fork.env.is_empty() && fork.program.is_none() {
        return Arc::clone(common);
    }
    let mut program = fork.program.unwrap_or_else(|| Program::clone(common));
    program.env.retain(|(name, _)| !fork.env.iter().any(|(own, _)| own == name));
    program.env.extend(fork.env);
    Arc::new(program)
}
