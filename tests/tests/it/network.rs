//! What lies between Witgate and the others: names, certificates, proxies.

#![allow(clippy::indexing_slicing)] // a test fails by panicking

mod hosts;
