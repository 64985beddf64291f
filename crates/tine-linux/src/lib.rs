//! The Linux calls behind tine that `rustix` has not got.

pub mod inherited;
