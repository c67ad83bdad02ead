//! Bodies of requests that were refused before all of the body was read. Most clients send a whole body before they
//! read the answer. If the connection is closed while they send, it is reset, and they never see the reason (RFC 9112,
//! section 9.6). So Witgate reads the rest of the body and discards it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::FutureExt as _;
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::table::Connection;

/// Time limit for reading the rest.
const TIME: Duration = Duration::from_secs(5);

/// Maximum number of bytes to read: four times the largest message with the default settings.
const SIZE: usize = 16 << 20;

/// Reads the rest of `body`, while the answer is sent over the same `connection`. A rest that is too long or too slow
/// ends the connection.
pub fn discard<B>(mut body: B, connection: Option<&Arc<Connection>>)
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    // The end of a chunked body is known only after another read.
    let is_read = body.is_end_stream() || matches!(body.frame().now_or_never(), Some(None | Some(Err(_))));
    if !is_read {
        let turn = connection.map(Connection::goes_on);
        tokio::spawn(async move {
            let _ = timeout(TIME, read(body)).await;
            drop(turn);
        });
    }
}

async fn read<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let mut left = SIZE;
    while let Some(Ok(frame)) = body.frame().await {
        let size = frame.data_ref().map_or(0, Buf::remaining);
        let Some(rest) = left.checked_sub(size) else { return };
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    #[tokio::test]
    async fn reading_an_endless_body_stops() {
        let read_frames = Arc::new(AtomicUsize::new(0));
        let frames = Arc::clone(&read_frames);
        let endless = stream::repeat_with(move || {
            frames.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 1 << 16])))
        });
        read(StreamBody::new(endless)).await;
        assert_eq!(read_frames.load(Ordering::Relaxed), 257, "16 MiB and the frame that is too much");
    }
}
