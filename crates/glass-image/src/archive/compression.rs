//! Archives come plain, gzipped or as zstd. Which is told by their first bytes: media types and file names lie.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};

/// The uncompressed bytes of a stream.
pub(crate) fn decompress<'a>(reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let start = reader.fill_buf()?;
    let unsupported = |name: &str| {
        let message = format!("{name} is not supported; use gzip, zstd or no compression");
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    };
    if start.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(MultiGzDecoder::new(reader)))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || skippable(start) {
        Ok(Box::new(Frames::new(reader)))
    } else if start.starts_with(b"\xfd7zXZ\0") {
        unsupported("xz compression")
    } else if start.starts_with(b"BZh") {
        unsupported("bzip2 compression")
    } else {
        Ok(Box::new(reader))
    }
}

/// Whether a zstd frame begins that decoders have to skip.
fn skippable(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// All frames of a zstd stream; the decoder reads one.
struct Frames<R: Read> {
    /// Between two frames, at most one of these is nothing.
    between: Option<R>,
    within: Option<Box<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>>,
}

impl<R: BufRead> Frames<R> {
    fn new(reader: R) -> Self {
        Self {
            between: Some(reader),
            within: None,
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(mut decoder) = self.within.take() {
                let n = decoder.read(buffer)?;
                if n > 0 || buffer.is_empty() {
                    self.within = Some(decoder);
                    return Ok(n);
                }
                self.between = Some(decoder.into_inner());
            }
            // After an error there is neither, and nothing more to read.
            let Some(mut reader) = self.between.take() else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            if reader.fill_buf()?.is_empty() {
                self.between = Some(reader);
                return Ok(0);
            }
            if skippable(reader.fill_buf()?) {
                skip_frame(&mut reader)?;
                self.between = Some(reader);
                continue;
            }
            let decoder = StreamingDecoder::new(reader).map_err(|error| {
                let reason = match error {
                    FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                        ..
                    }) => "a skipped frame",
                    _ => "damaged zstd data",
                };
                io::Error::new(io::ErrorKind::InvalidData, reason)
            })?;
            self.within = Some(Box::new(decoder));
        }
    }
}

fn skip_frame(reader: &mut impl Read) -> io::Result<()> {
    let mut header = [0; 8];
    reader.read_exact(&mut header)?;
    let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    let skipped = io::copy(&mut reader.take(length.into()), &mut io::sink())?;
    if skipped < u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
