//! The frames and errors of Connect RPC with the JSON codec.

use serde::{Deserialize, Serialize};

/// Media type of a unary call and its answer.
pub const UNARY: &str = "application/json";
/// Media type of a streaming call and its answer.
pub const STREAMING: &str = "application/connect+json";
/// Flag of the last frame of a stream.
pub const END: u8 = 0x02;
/// The longest frame that either side accepts. A log line of 16 MiB fits, whatever it must be escaped to.
pub const MAX_FRAME: usize = 128 << 20;

const HEADER: usize = 5;

/// Why a call failed, in the words of Connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The caller gave up.
    Canceled,
    /// Anything else.
    Unknown,
    /// The request is wrong whatever the state.
    InvalidArgument,
    /// Time ran out.
    DeadlineExceeded,
    /// What was named does not exist.
    NotFound,
    /// What was to be made exists.
    AlreadyExists,
    /// The user may not.
    PermissionDenied,
    /// Space or another bounded thing ran out.
    ResourceExhausted,
    /// The state does not allow it now.
    FailedPrecondition,
    /// A conflict with another call.
    Aborted,
    /// Beyond the end.
    OutOfRange,
    /// No such method.
    Unimplemented,
    /// A defect on our side.
    Internal,
    /// Try again.
    Unavailable,
    /// Data are lost.
    DataLoss,
    /// No or wrong credentials.
    Unauthenticated,
}

impl Code {
    /// The HTTP status of a unary answer with this code.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Canceled => 499,
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => 400,
            Self::DeadlineExceeded => 504,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::PermissionDenied => 403,
            Self::ResourceExhausted => 429,
            Self::Unimplemented => 501,
            Self::Unknown | Self::Internal | Self::DataLoss => 500,
            Self::Unavailable => 503,
            Self::Unauthenticated => 401,
        }
    }
}

/// An error of a call: a code for programs, a message for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcError {
    /// For programs.
    pub code: Code,
    /// For people: names the field, the value and the remedy.
    #[serde(default)]
    pub message: String,
}

impl RpcError {
    /// An error with this code and message.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl std::fmt::Display for RpcError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RpcError {}

/// The content of the last frame.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndOfStream {
    /// Absent when all went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RpcError>,
}

/// An empty message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// One frame of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// [`END`] or 0.
    pub flags: u8,
    /// JSON.
    pub payload: Vec<u8>,
}

/// A stream that is not made of frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameError {
    /// Longer than [`MAX_FRAME`].
    TooLong(usize),
    /// Compressed, which nobody asked for.
    Compressed,
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong(length) => write!(
                f,
                "frame of {length} bytes is longer than the limit of {MAX_FRAME} bytes"
            ),
            Self::Compressed => f.write_str("frame is compressed, send it uncompressed"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Encodes a frame.
///
/// # Panics
/// If the payload is 4 GiB or longer, which no message of this protocol is.
#[must_use]
pub fn encode(flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("messages are shorter than 4 GiB");
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.push(flags);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Puts frames together from bytes as they come.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// Adds bytes from the wire.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start >= self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    /// If the bytes are not frames of this protocol.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let rest = &self.buffer[self.start..];
        let Some((header, body)) = rest.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [flags, a, b, c, d] = *header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_FRAME {
            return Err(FrameError::TooLong(length));
        }
        if flags & 1 != 0 {
            return Err(FrameError::Compressed);
        }
        let Some(payload) = body.get(..length) else {
            return Ok(None);
        };
        let frame = Frame {
            flags,
            payload: payload.to_vec(),
        };
        self.start += HEADER + length;
        Ok(Some(frame))
    }

    /// Whether bytes of an unfinished frame are left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_wherever_the_bytes_are_cut() {
        let mut wire = encode(0, b"{\"a\":1}");
        wire.extend(encode(END, b"{}"));
        for cut in 0..wire.len() {
            let mut decoder = Decoder::default();
            let mut frames = Vec::new();
            for part in [&wire[..cut], &wire[cut..]] {
                decoder.push(part);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames.len(), 2);
            assert_eq!(frames[0].payload, b"{\"a\":1}");
            assert_eq!(frames[1].flags, END);
            assert!(decoder.is_empty());
        }
    }

    #[test]
    fn a_frame_longer_than_the_limit_is_refused_before_it_is_read() {
        let mut decoder = Decoder::default();
        decoder.push(&[0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(0xffff_ffff)));
    }

    #[test]
    fn codes_are_written_as_connect_writes_them() {
        let error = RpcError::new(Code::NotFound, "x");
        assert_eq!(
            serde_json::to_string(&error).unwrap(),
            r#"{"code":"not_found","message":"x"}"#
        );
    }
}
