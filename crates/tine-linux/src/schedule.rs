//! How the scheduler treats a thread: [sched(7)](https://man7.org/linux/man-pages/man7/sched.7.html).

use std::io;

use crate::checked;

/// Lets this thread wait its turn when it is woken: `SCHED_BATCH`, for a thread that many others wake.
///
/// An ordinary thread that was asleep interrupts the one that wakes it. A thread that passes work to
/// many is woken by each of them, interrupts each, finds one thing to do, and sleeps again; one that
/// waits until somebody sleeps finds all that has come meanwhile. While a processor is idle there is
/// no difference; while all are busy it waits for the end of somebody's slice, some milliseconds, at
/// worst.
///
/// Needs no privilege. Processes and threads that it starts from now on do not inherit it
/// (`SCHED_RESET_ON_FORK`). Left alone are threads under another policy than `SCHED_OTHER`, which
/// somebody put there for a reason, and those with a negative nice value, for that would not be
/// inherited any more either.
///
/// # Errors
///
/// Those of [sched_setscheduler(2)](https://man7.org/linux/man-pages/man2/sched_setscheduler.2.html).
pub fn wait_when_woken() -> io::Result<()> {
    // SAFETY: takes and returns numbers; 0 is the calling thread.
    let now = checked(unsafe { libc::sched_getscheduler(0) })?;
    if now != libc::SCHED_OTHER || rustix::process::getpriority_process(None)? < 0 {
        return Ok(());
    }
    let parameters = libc::sched_param { sched_priority: 0 };
    let policy = libc::SCHED_BATCH | libc::SCHED_RESET_ON_FORK;
    let parameters: *const libc::sched_param = &raw const parameters;
    // SAFETY: the parameters are alive and are only read.
    checked(unsafe { libc::sched_setscheduler(0, policy, parameters) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> libc::c_int {
        // SAFETY: takes and returns numbers.
        unsafe { libc::sched_getscheduler(0) }
    }

    #[test]
    fn it_is_for_this_thread_and_not_for_those_it_starts() {
        let started = std::thread::spawn(|| {
            wait_when_woken().expect("it needs no privilege");
            (policy(), std::thread::spawn(policy).join().expect("it only looks"))
        });
        let (own, childs) = started.join().expect("it does not panic");
        assert_eq!(own & !libc::SCHED_RESET_ON_FORK, libc::SCHED_BATCH);
        assert_eq!(childs, libc::SCHED_OTHER);
        assert_eq!(policy(), libc::SCHED_OTHER);
    }
}
