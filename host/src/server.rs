//! How Witgate meets its clients.

pub mod stdio;
