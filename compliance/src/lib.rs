//! Behaviour tests that run against real programs in every language, through the real `tine`.
#![forbid(unsafe_code)]
