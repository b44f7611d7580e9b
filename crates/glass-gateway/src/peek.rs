//! Finds the model that a request names while most of the request is still on its way.
//!
//! Whoever answers depends on the model's name, which stands in the body. Agents write it first, so a few bytes are
//! enough; they are kept and sent before the rest. A body that hides it behind more than [`LOOK`] bytes is forwarded
//! without looking further.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::body::{self, REQUEST_LIMIT, ReadError};

const LOOK: usize = 1024 * 1024;

/// A body of which the beginning was read.
#[derive(Debug)]
pub(crate) struct Peeked {
    /// The model that the beginning names.
    pub(crate) model: Option<String>,
    /// The beginning.
    pub(crate) head: Vec<Bytes>,
    /// The rest.
    pub(crate) rest: Incoming,
}

impl Peeked {
    pub(crate) fn nothing(rest: Incoming) -> Self {
        Self {
            model: None,
            head: Vec::new(),
            rest,
        }
    }

    /// The whole body.
    pub(crate) async fn read(self) -> Result<Vec<u8>, ReadError> {
        let mut bytes = self.head.concat();
        bytes.extend(body::read(self.rest).await?);
        if bytes.len() > REQUEST_LIMIT {
            return Err(ReadError::TooLarge);
        }
        Ok(bytes)
    }
}

/// Reads until the model is known.
pub(crate) async fn model(mut rest: Incoming) -> Result<Peeked, ReadError> {
    let mut scanner = Scanner::default();
    let mut head = Vec::new();
    let mut seen = 0;
    while seen < LOOK {
        let Some(frame) = rest.frame().await else {
            break;
        };
        let Ok(data) = frame.map_err(ReadError::Cut)?.into_data() else {
            continue;
        };
        seen += data.len();
        let found = data.iter().any(|&byte| scanner.feed(byte));
        head.push(data);
        if found {
            break;
        }
    }
    Ok(Peeked {
        model: scanner.model(),
        head,
        rest,
    })
}

/// Follows a JSON text byte by byte, just well enough to find the string at the top-level key `model`.
#[derive(Debug, Default)]
struct Scanner {
    depth: usize,
    /// Inside a string; the flag says that the byte before was a backslash.
    string: Option<bool>,
    /// The string being read or read last, with its escapes, while it can still matter.
    text: Vec<u8>,
    /// The last key at the top level was `model` and its value has not begun.
    wanted: bool,
    found: Option<Vec<u8>>,
}

/// Longer names are no model's.
const NAME: usize = 512;

impl Scanner {
    /// True once the model is known.
    fn feed(&mut self, byte: u8) -> bool {
        if self.found.is_some() {
            return true;
        }
        if let Some(escaped) = self.string {
            if escaped || byte != b'"' {
                if self.depth == 1 && self.text.len() <= NAME {
                    self.text.push(byte);
                }
                self.string = Some(!escaped && byte == b'\\');
            } else {
                self.string = None;
                if self.wanted {
                    self.found = Some(std::mem::take(&mut self.text));
                    return true;
                }
            }
            return false;
        }
        match byte {
            b'"' => {
                self.string = Some(false);
                self.text.clear();
            }
            b'{' | b'[' => {
                self.depth += 1;
                self.wanted = false;
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b':' => self.wanted = self.depth == 1 && self.text == b"model",
            b',' => {
                self.wanted = false;
                self.text.clear();
            }
            _ => {}
        }
        false
    }

    fn model(self) -> Option<String> {
        String::from_utf8(self.found?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, model: Option<&str>) {
        let mut scanner = Scanner::default();
        body.bytes().any(|byte| scanner.feed(byte));
        assert_eq!(scanner.model().as_deref(), model, "{body}");
    }

    #[test]
    fn the_model_is_the_string_at_the_top_level_key() {
        check(r#"{"model":"demo","x":1}"#, Some("demo"));
        check(
            r#"{ "a" : [1, {"model":"no"}], "model" : "yes" }"#,
            Some("yes"),
        );
        check(r#"{"a":"model","b":"no"}"#, None);
        check(r#"{"a":"\"model\":\"no\"","model":"yes"}"#, Some("yes"));
        check(r#"{"model":7,"b":"no"}"#, None);
        check(r#"{"model":{"b":"no"}}"#, None);
        check(r#"[{"model":"no"}]"#, None);
        check("]]]]", None);
        check("", None);
    }
}
