//! What a manager does for its apps beside running them: each part alone, without the manager.
//!
//! | module | |
//! |---|---|
//! | [`launch`] | from what an app shall be to the settings of a cluster |
//! | [`ground`] | what this host gives and forbids, found out once |
//! | [`sampler`] | what workers take of the CPU and of the memory |
//! | [`cron`] | when an app is restarted by the calendar |

pub mod cron;
pub mod ground;
pub mod launch;
pub mod sampler;
