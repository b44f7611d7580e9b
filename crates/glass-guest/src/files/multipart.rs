//! `multipart/form-data`, read as it comes.

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use glass_guest_protocol::connect::RpcError;

use crate::fault;

const MAX_HEAD: usize = 16 << 10;

/// The parts of a body.
#[derive(Debug)]
pub(super) struct Multipart<S> {
    body: S,
    buffer: BytesMut,
    /// CR LF, two hyphens, and the boundary.
    delimiter: Vec<u8>,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// In the preamble or in a part: what comes is content up to the next delimiter.
    Content,
    /// Right behind a delimiter.
    Delimiter,
    End,
}

impl<S, E> Multipart<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    pub(super) fn new(body: S, content_type: &str) -> Result<Self, RpcError> {
        let boundary = content_type
            .split(';')
            .filter_map(|parameter| parameter.trim().strip_prefix("boundary="))
            .map(|text| text.trim_matches('"'))
            .find(|text| !text.is_empty() && text.len() <= 200)
            .ok_or_else(|| fault::invalid("content-type multipart/form-data has no boundary"))?;
        Ok(Self {
            body,
            // So that the first delimiter looks like the others.
            buffer: BytesMut::from(&b"\r\n"[..]),
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            state: State::Content,
        })
    }

    async fn fill(&mut self) -> Result<(), RpcError> {
        match self.body.next().await {
            Some(Ok(bytes)) => {
                self.buffer.extend_from_slice(&bytes);
                Ok(())
            }
            Some(Err(error)) => Err(fault::invalid(format!("the upload broke: {error}"))),
            None => Err(fault::invalid("the upload ended before its last boundary")),
        }
    }

    /// Goes to the next part; its file name, if it has one.
    pub(super) async fn part(&mut self) -> Result<Option<Option<String>>, RpcError> {
        while self.chunk().await?.is_some() {}
        if self.state == State::End {
            return Ok(None);
        }
        while self.buffer.len() < 2 {
            self.fill().await?;
        }
        if self.buffer.starts_with(b"--") {
            self.state = State::End;
            return Ok(None);
        }
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(fault::invalid("the head of a part is longer than 16 KiB"));
            }
            self.fill().await?;
        };
        let head = self.buffer.split_to(end + 4);
        self.state = State::Content;
        Ok(Some(file_name(&String::from_utf8_lossy(&head))))
    }

    /// The next piece of the present part.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, RpcError> {
        if self.state != State::Content {
            return Ok(None);
        }
        loop {
            match find(&self.buffer, &self.delimiter) {
                Some(0) => {
                    self.buffer.advance(self.delimiter.len());
                    self.state = State::Delimiter;
                    return Ok(None);
                }
                Some(at) => return Ok(Some(self.buffer.split_to(at).freeze())),
                None => {}
            }
            // What may be the beginning of a delimiter stays.
            let safe = self.buffer.len().saturating_sub(self.delimiter.len());
            if safe > 0 {
                return Ok(Some(self.buffer.split_to(safe).freeze()));
            }
            self.fill().await?;
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

fn file_name(head: &str) -> Option<String> {
    let line = head.lines().find(|line| {
        line.get(..20)
            .is_some_and(|name| name.eq_ignore_ascii_case("content-disposition:"))
    })?;
    let rest = line.split_once("filename=\"")?.1;
    Some(rest.split_once('"')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn parts_are_found_wherever_the_body_is_cut() {
        let body = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a b\"\r\n\r\n\
                    one\r\n--X\r\n--XX\r\ncontent-disposition: form-data; name=\"n\"\r\n\r\n\r\n--XX--\r\n";
        for size in 1..body.len() {
            let pieces = body
                .as_bytes()
                .chunks(size)
                .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)));
            let stream = futures::stream::iter(pieces);
            let mut parts = Multipart::new(stream, "multipart/form-data; boundary=XX").unwrap();
            let mut found = Vec::new();
            while let Some(name) = parts.part().await.unwrap() {
                let mut content = Vec::new();
                while let Some(chunk) = parts.chunk().await.unwrap() {
                    content.extend_from_slice(&chunk);
                }
                found.push((name, String::from_utf8(content).unwrap()));
            }
            assert_eq!(
                found,
                [
                    (Some("a b".to_owned()), "one\r\n--X".to_owned()),
                    (None, String::new())
                ]
            );
        }
    }

    #[tokio::test]
    async fn a_cut_upload_is_an_error() {
        let body = Bytes::from_static(b"--XX\r\nA: b\r\n\r\nhalf");
        let stream = futures::stream::iter([Ok::<_, std::io::Error>(body)]);
        let mut parts = Multipart::new(stream, "multipart/form-data; boundary=XX").unwrap();
        assert_eq!(parts.part().await.unwrap(), Some(None));
        let result = loop {
            match parts.chunk().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert!(result.is_err());
    }
}
