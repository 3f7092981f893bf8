//! Reading one message a line.

use tokio::io::{AsyncRead, AsyncReadExt};
use tracing::error;
use vmward_wire::frame::FrameDecoder;

use super::{MESSAGE_BYTES_MAX, WrapError};

/// Lines of a bounded length from a stream.
pub(super) struct Lines<R> {
    stream: R,
    side: &'static str,
    decoder: FrameDecoder,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(stream: R, side: &'static str) -> Self {
        let decoder = FrameDecoder::new(MESSAGE_BYTES_MAX);
        Self {
            stream,
            side,
            decoder,
            buffer: vec![0; 64 * 1024],
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, WrapError> {
        loop {
            if let Some(line) = self.decoder.next_line() {
                return Ok(Some(line));
            }
            let count =
                self.stream
                    .read(&mut self.buffer)
                    .await
                    .map_err(|source| WrapError::Pipe {
                        operation: "read a message",
                        source,
                    })?;
            if count == 0 {
                if self.decoder.has_partial() {
                    error!(
                        "The {} ended in the middle of a message, which is dropped",
                        self.side
                    );
                }
                return Ok(None);
            }
            let bytes = self.buffer.get(..count).unwrap_or_default();
            let side = self.side;
            self.decoder
                .push(bytes)
                .map_err(|source| WrapError::Message { side, source })?;
        }
    }
}
