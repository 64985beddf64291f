//! What a manager does for its apps beside running them: each part alone, without the manager.
//!
//! | module | |
//! |---|---|
//! | [`launch`] | from what an app shall be to the settings of a cluster |
//! | [`ground`] | what this host gives and forbids, found out once |
//! | [`after`] | in which order apps start that wait for one another |
//! | [`sampler`] | what workers take of the CPU and of the memory |
//! | [`memory`] | which of them take too much |
//! | [`cron`] | when an app is restarted by the calendar |
//! | [`watch`] | tells when files change |
//! | [`health`] | asks workers whether they are well |
//! | [`meter`] | looks at all workers, while somebody wants to know |
//! | [`guard`] | all of this for one app: demands new workers |
//! | [`verify`] | asks the app as a client does while it is reloaded |
//! | [`command`] | runs a command to its end, within a time |

pub mod after;
pub mod command;
pub mod cron;
pub mod ground;
pub mod guard;
pub mod health;
pub mod launch;
pub mod memory;
pub mod meter;
pub mod sampler;
pub mod verify;
pub mod watch;
