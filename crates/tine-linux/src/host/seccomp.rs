//! Whether `bind(2)` of a child can be trapped: seccomp user notification, really tried.

use std::{mem::MaybeUninit, os::fd::FromRawFd, os::fd::OwnedFd, thread};

use rustix::io::Errno;

use super::Ability;

/// What the kernel says about user notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeccompProbes {
    /// A filter with a notification descriptor can be installed. `Unsupported(EBUSY)` where an
    /// outer filter has one already: there can be one in a tree of filters.
    pub listener: Ability,
    /// A trapped call is not interrupted by harmless signals, such as Go's preemption (5.19).
    pub wait_killable: Ability,
}

/// The sizes of the running kernel's structures, which may be larger than those known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotifSizes {
    /// Bytes of `struct seccomp_notif`.
    pub notification: u16,
    /// Bytes of `struct seccomp_notif_resp`.
    pub response: u16,
    /// Bytes of `struct seccomp_data`.
    pub data: u16,
}

/// Installs a filter that allows everything, with a listener, in a thread that ends at once: a
/// filter belongs to its thread, and goes with it.
#[must_use]
pub fn seccomp_probes() -> SeccompProbes {
    let plain = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let killable = plain | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    if let Err(errno) = action_available().and_then(|()| notif_sizes()) {
        let neither = Ability::of(&Err::<(), _>(errno));
        return SeccompProbes { listener: neither, wait_killable: neither };
    }
    // A thread takes longer to make than all else here: one is enough where the kernel has both.
    let wait_killable = try_in_thread(killable);
    if wait_killable.is_yes() {
        return SeccompProbes { listener: wait_killable, wait_killable };
    }
    let listener = try_in_thread(plain);
    // The same refusal came for the same reason.
    let wait_killable = if listener.is_yes() { wait_killable } else { listener };
    SeccompProbes { listener, wait_killable }
}

fn try_in_thread(flags: libc::c_ulong) -> Ability {
    let attempt = move || {
        // Belongs to the thread as well. Without it only CAP_SYS_ADMIN may install a filter.
        rustix::thread::set_no_new_privs(true)?;
        install_allow_all(flags)
    };
    let thread = thread::Builder::new().name("seccomp-probe".into()).spawn(attempt);
    match thread.map(thread::JoinHandle::join) {
        Ok(Ok(result)) => Ability::of(&result),
        Ok(Err(_)) | Err(_) => Ability::Unsupported(Errno::AGAIN),
    }
}

/// `seccomp(SECCOMP_GET_NOTIF_SIZES)`.
///
/// See [`seccomp(2)`](https://man7.org/linux/man-pages/man2/seccomp.2.html).
///
/// # Errors
///
/// `EINVAL` before Linux 5.0.
pub fn notif_sizes() -> Result<NotifSizes, Errno> {
    let mut sizes = MaybeUninit::<libc::seccomp_notif_sizes>::zeroed();
    seccomp(libc::SECCOMP_GET_NOTIF_SIZES, 0, sizes.as_mut_ptr().cast())?;
    // SAFETY: three integers, zeroed above, for which every bit pattern is a value; the kernel has
    // filled in those it knows.
    let sizes = unsafe { sizes.assume_init() };
    Ok(NotifSizes {
        notification: sizes.seccomp_notif,
        response: sizes.seccomp_notif_resp,
        data: sizes.seccomp_data,
    })
}

/// `seccomp(SECCOMP_GET_ACTION_AVAIL)` for user notification.
fn action_available() -> Result<(), Errno> {
    let mut action = libc::SECCOMP_RET_USER_NOTIF;
    seccomp(libc::SECCOMP_GET_ACTION_AVAIL, 0, (&raw mut action).cast()).map(drop)
}

fn install_allow_all(flags: libc::c_ulong) -> Result<OwnedFd, Errno> {
    let code = u16::try_from(libc::BPF_RET | libc::BPF_K).expect("the constant is 6");
    let mut allow = libc::sock_filter { code, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let mut program = libc::sock_fprog { len: 1, filter: &raw mut allow };
    let number = seccomp(libc::SECCOMP_SET_MODE_FILTER, flags, (&raw mut program).cast())?;
    let number = i32::try_from(number).expect("a descriptor number is an int");
    // SAFETY: with NEW_LISTENER a successful call returns a new descriptor, CLOEXEC from birth,
    // that nothing else in this process knows of.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `argument` must point to what `operation` reads or writes; each caller above passes its own
/// live local of the type that the man page names.
fn seccomp(
    operation: libc::c_uint,
    flags: libc::c_ulong,
    argument: *mut libc::c_void,
) -> Result<libc::c_long, Errno> {
    // SAFETY: see above; the kernel keeps no pointer after the call, it copies the filter.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, argument) };
    if result >= 0 {
        return Ok(result);
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}
