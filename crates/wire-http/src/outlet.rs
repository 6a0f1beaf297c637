//! The outlet.

mod sign;
