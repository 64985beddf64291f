//! Decisions without a clock, without I/O, without a runtime.

pub mod handover;
