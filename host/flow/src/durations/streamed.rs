//! The duration of an operation whose answer is an event stream. It ends with the answer, or with the stream.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::{AnswerPeek, ErrorType, OperationClock, OperationTimes};
use crate::request::Request;
use crate::traces::{OperationFacts, Trace};

/// An operation that ends with its stream. Dropping it observes it.
pub(in super::super) struct StreamedOperation {
    times: Arc<OperationTimes>,
    clock: OperationClock,
    request: Arc<Request>,
    /// The trace, and whether the caller has shown a valid credential.
    trace: Option<(Box<Trace>, bool)>,
    last: LastEvent,
}

/// The longest event that is read at the end only. Many notifications of progress are shorter.
const SHORT: usize = 128;

/// The last event, which is the answer of a stream that is complete. It keeps no part of the buffer in which the event
/// has arrived, because that may be large.
enum LastEvent {
    /// A copy of a short event, which is read at the end only, so that the others need not be read.
    Unread(SmallVec<[u8; SHORT]>),
    /// A longer event, which was read at once: whether it is an answer, and its error.
    Read(bool, Option<ErrorType>),
}

impl StreamedOperation {
    /// The operation whose answer begins now.
    pub(in super::super) fn begin(
        times: &Arc<OperationTimes>,
        clock: OperationClock,
        request: &Arc<Request>,
        trace: Option<(Box<Trace>, bool)>,
    ) -> Self {
        times.observe_own(&clock, Instant::now());
        let last = LastEvent::Read(false, None);
        Self { times: Arc::clone(times), clock, request: Arc::clone(request), trace, last }
    }

    /// Notes an event that the caller gets.
    pub(in super::super) fn note(&mut self, data: &[u8]) {
        self.last = match data.len() <= SHORT {
            true => LastEvent::Unread(SmallVec::from_slice(data)),
            false => self.read(data),
        };
    }

    fn read(&self, data: &[u8]) -> LastEvent {
        let peek = AnswerPeek::of(data, self.request.call.method() == "tools/call");
        match peek.filter(AnswerPeek::is_response) {
            Some(peek) => LastEvent::Read(true, peek.error()),
            None => LastEvent::Read(false, None),
        }
    }
}

impl Drop for StreamedOperation {
    fn drop(&mut self) {
        let last = match &self.last {
            LastEvent::Unread(data) => self.read(data),
            LastEvent::Read(is_answer, error) => LastEvent::Read(*is_answer, *error),
        };
        let error = match last {
            LastEvent::Read(true, error) => error,
            LastEvent::Read(false, _) | LastEvent::Unread(_) => Some(ErrorType::CANCELLED),
        };
        let ended = Instant::now();
        self.times.observe_streamed(&self.clock, &self.request, ended, error);
        if let Some((trace, is_known)) = self.trace.take() {
            let error = error.map(ErrorType::name);
            trace.end(&OperationFacts {
                request: &self.request,
                // Only an allowed call has a stream.
                is_clean: true,
                is_known,
                started: self.clock.started(),
                sent: self.clock.upstream_times().0,
                answered: Some(ended),
                ended,
                outcome: "allowed",
                reason: None,
                policy: None,
                error,
                upstream_error: error,
            });
        }
    }
}
