//! Messages of an event stream.

use bytes::Bytes;

use witgate_runtime::memory::Hold;

/// One message of a stream.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// The SSE id, if the upstream gave one.
    pub id: Option<String>,
    /// The SSE reconnection time in milliseconds, if the upstream gave one.
    pub retry: Option<u64>,
    /// The JSON-RPC message. Empty in an event that only starts the stream.
    pub data: Bytes,
    /// The memory of the message.
    pub hold: Hold,
}
