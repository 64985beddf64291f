//! With what rights a program runs: as whom, within what limits, with what precedence.

use rustix::process::{Gid, Resource, Uid};

use super::{
    Spawn, Step,
    child::{Number, errno, step},
};

/// As whom a program runs, in full: nothing of the parent's rights is left by accident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The real, effective and saved user.
    pub uid: Uid,
    /// The real, effective and saved group.
    pub gid: Gid,
    /// All supplementary groups.
    pub groups: Vec<Gid>,
}

/// What was asked for; the parent's own where nothing was.
#[derive(Debug, Default)]
pub(super) struct Rights {
    umask: Option<u32>,
    priority: Option<i32>,
    limits: Vec<(Resource, libc::rlimit)>,
    user: Option<User>,
}

impl Spawn<'_> {
    /// How many descriptors the program may have, softly and firmly (`RLIMIT_NOFILE`): for a parent
    /// that raised its own limit.
    pub fn file_limit(&mut self, soft: u64, hard: u64) -> &mut Self {
        self.limit(Resource::Nofile, Some(soft), Some(hard))
    }

    /// `setrlimit(2)` — how much of a resource the program may use, softly and firmly; `None` is without
    /// limit. The last word on a resource counts. To raise the firm limit takes `CAP_SYS_RESOURCE`.
    ///
    /// [setrlimit(2)](https://man7.org/linux/man-pages/man2/setrlimit.2.html)
    pub fn limit(&mut self, what: Resource, soft: Option<u64>, hard: Option<u64>) -> &mut Self {
        let number = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
        let limit = libc::rlimit { rlim_cur: number(soft), rlim_max: number(hard) };
        self.rights.limits.push((what, limit));
        self
    }

    /// `umask(2)` — which permissions new files of the program do not get: the lowest nine bits count.
    ///
    /// [umask(2)](https://man7.org/linux/man-pages/man2/umask.2.html)
    pub fn umask(&mut self, mask: u32) -> &mut Self {
        self.rights.umask = Some(mask);
        self
    }

    /// `setpriority(2)` — the program's nice value, from -20, which goes first, to 19. To go below the
    /// parent's own takes `CAP_SYS_NICE`.
    ///
    /// [setpriority(2)](https://man7.org/linux/man-pages/man2/setpriority.2.html)
    pub fn nice(&mut self, value: i32) -> &mut Self {
        self.rights.priority = Some(value);
        self
    }

    /// Runs the program as this user, which takes `CAP_SETUID` and `CAP_SETGID`. The working directory
    /// is entered before, as the parent's user; so are the limits set, and the priority.
    pub fn user(&mut self, user: User) -> &mut Self {
        self.rights.user = Some(user);
        self
    }
}

/// [`Rights`] in the kernel's own numbers, for the child.
pub(super) struct Numbers {
    umask: Option<libc::mode_t>,
    priority: Option<Number>,
    limits: Vec<(u32, libc::rlimit)>,
    user: Option<Identity>,
}

struct Identity {
    uid: libc::uid_t,
    gid: libc::gid_t,
    groups: Vec<libc::gid_t>,
}

impl Rights {
    pub(super) fn in_numbers(&self) -> Numbers {
        Numbers {
            umask: self.umask,
            priority: self.priority,
            limits: self.limits.iter().map(|(what, limit)| (*what as u32, *limit)).collect(),
            user: self.user.as_ref().map(|user| Identity {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
                groups: user.groups.iter().map(|group| group.as_raw()).collect(),
            }),
        }
    }
}

/// In the child: system calls only.
impl Numbers {
    /// While this is still the parent's user, who may do more.
    pub(super) fn limit(&self) -> Result<(), (Step, Number)> {
        if let Some(mask) = self.umask {
            // SAFETY: takes a number only, and cannot fail.
            unsafe { libc::umask(mask) };
        }
        if let Some(value) = self.priority {
            // SAFETY: takes numbers only; 0 is this process.
            let set = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, value) };
            step(Step::Priority, set)?;
        }
        for (what, limit) in &self.limits {
            let limit: *const libc::rlimit = limit;
            // SAFETY: `limit` points to a live struct that the kernel copies.
            step(Step::Limits, unsafe { libc::setrlimit(*what as _, limit) })?;
        }
        Ok(())
    }

    /// By the calls themselves: glibc's functions would make all threads follow, and there is one here
    /// that knows nothing of the others.
    pub(super) fn become_user(&self) -> Result<(), (Step, Number)> {
        let Some(Identity { uid, gid, groups }) = &self.user else { return Ok(()) };
        let called = |rc: libc::c_long| if rc < 0 { Err((Step::User, errno())) } else { Ok(()) };
        // SAFETY: the kernel reads as many group numbers as the plan's live vector has.
        called(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
        // SAFETY: takes numbers only.
        called(unsafe { libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid) })?;
        // SAFETY: takes numbers only.
        called(unsafe { libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid) })
    }
}
