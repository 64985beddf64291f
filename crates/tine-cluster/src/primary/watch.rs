//! Small tasks that wait for one descriptor each, and tell the task what they saw.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use tine_linux::{
    process::Process,
    seccomp::{Listener, Notification},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
};

use super::{input::News, ready, taken::Taken};
use crate::id::WorkerId;

/// How long a tracer usually takes.
const TRACER: Duration = Duration::from_millis(20);

/// Tells when the process has ended.
///
/// # Errors
///
/// When descriptors have run out. A process that nobody watches must not be let run.
pub(super) fn exit(
    worker: WorkerId,
    process: &Process,
    tell: mpsc::Sender<News>,
) -> io::Result<()> {
    let fd = duplicate(process)?;
    tokio::spawn(async move {
        if fd.readable().await.is_ok() {
            let _ = tell.send(News::Exited(worker)).await;
        }
    });
    Ok(())
}

/// Tells once more, a little later: a process that is traced (`strace -f`) has ended for its tracer
/// first, and nothing says when the tracer lets go of it.
pub(super) fn exit_again(worker: WorkerId, tell: mpsc::Sender<News>) {
    tokio::spawn(async move {
        tokio::time::sleep(TRACER).await;
        let _ = tell.send(News::Exited(worker)).await;
    });
}

/// Tells of every trapped call, and when nobody is left who could make one; first of those that were taken
/// before and not answered.
///
/// # Errors
///
/// When descriptors have run out.
pub(super) fn trap(
    worker: WorkerId,
    (listener, taken): (Arc<Listener>, Option<Arc<Taken>>),
    tell: mpsc::Sender<News>,
) -> io::Result<()> {
    let fd = duplicate(&*listener)?;
    let mut notes = Notes { taken, count: 0 };
    tokio::spawn(async move {
        for call in notes.left(&listener) {
            if tell.send(News::TrappedBefore(worker, call)).await.is_err() {
                return;
            }
        }
        while let Some(news) = next_call(worker, (&listener, &mut notes), &fd).await {
            let over = matches!(news, News::FilterGone(_));
            if tell.send(news).await.is_err() || over {
                return;
            }
        }
    });
    Ok(())
}

/// A descriptor of its own for tokio to wait for: the same process, the same listener.
fn duplicate(of: &impl AsFd) -> io::Result<AsyncFd<OwnedFd>> {
    ready::watch(of.as_fd().try_clone_to_owned()?, Interest::READABLE)
}

/// What a successor has to know.
struct Notes {
    taken: Option<Arc<Taken>>,
    count: u64,
}

impl Notes {
    fn note(&mut self, call: &Notification) {
        if let Some(taken) = &self.taken {
            taken.note(self.count, call);
            self.count += 1;
        }
    }

    /// What a predecessor has left, noted again where it is not written over soon.
    fn left(&mut self, listener: &Listener) -> Vec<Notification> {
        let left = self.taken.as_ref().map(|taken| taken.unanswered(listener)).unwrap_or_default();
        for call in &left {
            self.note(call);
        }
        left
    }
}

async fn next_call(
    worker: WorkerId,
    (listener, notes): (&Listener, &mut Notes),
    fd: &AsyncFd<OwnedFd>,
) -> Option<News> {
    loop {
        let mut ready = fd.readable().await.ok()?;
        // A call that was made just before the last process ended cannot be answered any more.
        if ready.ready().is_read_closed() {
            return Some(News::FilterGone(worker));
        }
        // One call at a time: taking it does not say whether more wait, so tokio's memory of
        // readiness is cleared and the kernel asked again.
        if !has_call(listener) {
            ready.clear_ready();
            continue;
        }
        match listener.receive() {
            Ok(Some(notification)) => {
                notes.note(&notification);
                return Some(News::Trapped(worker, notification));
            }
            Ok(None) => {}
            Err(_) => ready.clear_ready(),
        }
    }
}

/// Whether a call waits at this moment, so that taking it will not block.
fn has_call(listener: &Listener) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let listener = listener.as_fd();
    let mut fds = [PollFd::new(&listener, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&at_once)), Ok(1)) && fds[0].revents().contains(PollFlags::IN)
}
