//! Small tasks that wait for one descriptor each, and tell the task what they saw.

use std::{os::fd::AsFd, sync::Arc};

use tine_linux::{process::Process, seccomp::Listener};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
};

use super::input::News;
use crate::id::WorkerId;

/// A descriptor of something shared, in the form in which tokio waits for it.
#[derive(Debug)]
struct Shared<T>(Arc<T>);

impl<T: AsFd> std::os::fd::AsRawFd for Shared<T> {
    #[expect(clippy::disallowed_types, reason = "the trait that tokio asks for speaks in numbers")]
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Tells when the process has ended.
pub(super) fn exit(worker: WorkerId, process: Arc<Process>, tell: mpsc::Sender<News>) {
    tokio::spawn(async move {
        let Ok(fd) = AsyncFd::with_interest(Shared(process), Interest::READABLE) else { return };
        if fd.readable().await.is_ok() {
            let _ = tell.send(News::Exited(worker)).await;
        }
    });
}

/// Tells of every trapped call, and when nobody is left who could make one.
pub(super) fn trap(worker: WorkerId, listener: Arc<Listener>, tell: mpsc::Sender<News>) {
    tokio::spawn(async move {
        let Ok(fd) = AsyncFd::with_interest(Shared(listener), Interest::READABLE) else { return };
        while let Some(news) = next_call(worker, &fd).await {
            let over = matches!(news, News::FilterGone(_));
            if tell.send(news).await.is_err() || over {
                return;
            }
        }
    });
}

async fn next_call(worker: WorkerId, fd: &AsyncFd<Shared<Listener>>) -> Option<News> {
    loop {
        let mut ready = fd.readable().await.ok()?;
        // A call that was made just before the last process ended cannot be answered any more.
        if ready.ready().is_read_closed() {
            return Some(News::FilterGone(worker));
        }
        // One call at a time: taking it does not say whether more wait, so tokio's memory of
        // readiness is cleared and the kernel asked again.
        let waits = has_call(fd);
        if !waits {
            ready.clear_ready();
            continue;
        }
        match fd.get_ref().0.receive() {
            Ok(Some(notification)) => return Some(News::Trapped(worker, notification)),
            Ok(None) => {}
            Err(_) => ready.clear_ready(),
        }
    }
}

/// Whether a call waits at this moment, so that taking it will not block.
fn has_call(fd: &AsyncFd<Shared<Listener>>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let listener = &*fd.get_ref().0;
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&at_once)), Ok(1)) && fds[0].revents().contains(PollFlags::IN)
}
