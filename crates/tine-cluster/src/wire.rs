//! The languages in which workers and primary speak.
