//! How clients and operators reach Witgate. Nothing is decided here.

pub mod control;
pub mod status;
