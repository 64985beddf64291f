//! What the channel's thread puts in and the program takes out.

use std::{
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rustix::event::{EventfdFlags, eventfd};

/// A queue with an end. Takers sleep on it, or on a descriptor that is readable as long as there is
/// something, or nothing will come any more.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    /// A lock, for several threads may take, and the thread that puts in never waits.
    state: Mutex<State<T>>,
    news: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    ended: bool,
    /// Made when first asked for: who sleeps on the lock pays for no call of the kernel.
    signal: Option<Arc<OwnedFd>>,
}

/// What a look into an inbox found.
#[derive(Debug)]
pub(super) enum Look<T> {
    /// This.
    Item(T),
    /// Nothing at the moment.
    Empty,
    /// Nothing, and nothing will come.
    Ended,
}

impl<T> Inbox<T> {
    pub(super) const fn new() -> Self {
        let state = State { items: VecDeque::new(), ended: false, signal: None };
        Self { state: Mutex::new(state), news: Condvar::new() }
    }

    /// Puts one in; gives it back after the end.
    pub(super) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.ended {
            return Err(item);
        }
        state.items.push_back(item);
        if state.items.len() == 1 {
            state.raise();
        }
        self.news.notify_one();
        Ok(())
    }

    /// Nothing more will be put in. What is there can still be taken.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.raise();
        self.news.notify_all();
    }

    /// Takes what is there, without waiting.
    pub(super) fn look(&self) -> Look<T> {
        self.lock().look()
    }

    /// Sleeps until there is something; `None` at the end.
    pub(super) fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            match state.look() {
                Look::Item(item) => return Some(item),
                Look::Ended => return None,
                Look::Empty => {
                    state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// The descriptor, always the same one.
    pub(super) fn signal(&self) -> io::Result<Arc<OwnedFd>> {
        let mut state = self.lock();
        if let Some(signal) = &state.signal {
            return Ok(Arc::clone(signal));
        }
        let signal = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let signal = state.signal.insert(Arc::new(signal));
        let signal = Arc::clone(signal);
        if state.ended || !state.items.is_empty() {
            state.raise();
        }
        Ok(signal)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn look(&mut self) -> Look<T> {
        let Some(item) = self.items.pop_front() else {
            return if self.ended { Look::Ended } else { Look::Empty };
        };
        if self.items.is_empty() && !self.ended {
            self.lower();
        }
        Look::Item(item)
    }

    fn raise(&self) {
        if let Some(signal) = &self.signal {
            // It cannot be full: it is lowered before it is raised again.
            let _ = rustix::io::write(signal, &1u64.to_ne_bytes());
        }
    }

    fn lower(&self) {
        if let Some(signal) = &self.signal {
            let _ = rustix::io::read(signal, &mut [0; 8]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_readable(fd: &OwnedFd) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    fn the_descriptor_is_readable_as_long_as_there_is_something() {
        let inbox = Inbox::new();
        inbox.push(1).unwrap();
        let signal = inbox.signal().unwrap();
        assert!(is_readable(&signal), "what came before it was asked for counts");
        inbox.push(2).unwrap();
        assert!(matches!(inbox.look(), Look::Item(1)) && is_readable(&signal));
        assert!(matches!(inbox.look(), Look::Item(2)) && !is_readable(&signal));
        assert!(matches!(inbox.look(), Look::Empty));
        inbox.push(3).unwrap();
        assert!(is_readable(&signal));
    }

    #[test]
    fn what_was_put_in_before_the_end_can_be_taken_after_it() {
        let inbox = Inbox::new();
        let signal = inbox.signal().unwrap();
        inbox.push(1).unwrap();
        inbox.end();
        assert_eq!(inbox.push(2), Err(2));
        assert_eq!((inbox.take(), inbox.take()), (Some(1), None));
        assert!(matches!(inbox.look(), Look::Ended) && is_readable(&signal));
    }
}
