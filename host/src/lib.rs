//! Witgate.
