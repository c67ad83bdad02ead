//! Messages of an event stream.

use bytes::Bytes;

use witgate_runtime::memory::Hold;

/// One message of a stream.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// The SSE id, where the upstream gave one.
    pub id: Option<String>,
    /// The SSE reconnection time in milliseconds, where the upstream gave one.
    pub retry: Option<u64>,
    /// The JSON-RPC message; empty in an event that only primes the stream.
    pub data: Bytes,
    /// The memory that it takes.
    pub hold: Hold,
}
