//! Server-sent events: bytes in, messages out. Knows no connection.

/// The longest message, in bytes. An event carries file texts, so it may be long, but not without end.
const MESSAGE_LIMIT: usize = 64 << 20;

/// One message of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its id, to go on after it.
    pub(crate) id: Option<String>,
    /// Its type; `message` unless the stream says otherwise.
    pub(crate) event: String,
    /// Its text.
    pub(crate) data: String,
}

/// A message is longer than a stream may make it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Takes bytes as they come.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    /// The last byte was a carriage return, so a line feed belongs to it.
    after_return: bool,
    id: Option<String>,
    event: String,
    data: Option<String>,
}

impl Parser {
    /// The messages that these bytes complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Message>, TooLong> {
        let mut messages = Vec::new();
        for &byte in bytes {
            let feed_of_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if feed_of_return => {}
                b'\n' | b'\r' => messages.extend(self.end_line()),
                _ => {
                    self.line.push(byte);
                    let held = self.line.len() + self.data.as_ref().map_or(0, String::len);
                    if held > MESSAGE_LIMIT {
                        return Err(TooLong);
                    }
                }
            }
        }
        Ok(messages)
    }

    fn end_line(&mut self) -> Option<Message> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return self.end_message();
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "event" => value.clone_into(&mut self.event),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // Comments keep the connection alive; what we do not know is none of ours.
            _ => {}
        }
        None
    }

    fn end_message(&mut self) -> Option<Message> {
        let event = std::mem::take(&mut self.event);
        let data = self.data.take()?;
        Some(Message {
            id: self.id.clone(),
            event: if event.is_empty() {
                "message".to_owned()
            } else {
                event
            },
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: Option<&str>, event: &str, data: &str) -> Message {
        Message {
            id: id.map(str::to_owned),
            event: event.to_owned(),
            data: data.to_owned(),
        }
    }

    const STREAM: &[u8] =
        b": hello\n\nid: 1\nevent: text\ndata: {\"a\":\ndata: 1}\n\nid:2\r\ndata:\xc3\xa4\r\n\r\nretry: 5\n\n";

    fn whole() -> Vec<Message> {
        vec![
            message(Some("1"), "text", "{\"a\":\n1}"),
            message(Some("2"), "message", "ä"),
        ]
    }

    #[test]
    fn fields_comments_and_line_ends_are_understood() {
        assert_eq!(Parser::default().push(STREAM), Ok(whole()));
    }

    #[test]
    fn it_does_not_matter_where_the_bytes_are_cut() {
        for cut in 0..STREAM.len() {
            let mut parser = Parser::default();
            let mut messages = parser.push(&STREAM[..cut]).unwrap();
            messages.extend(parser.push(&STREAM[cut..]).unwrap());
            assert_eq!(messages, whole(), "cut at {cut}");
        }
    }

    #[test]
    fn an_unfinished_message_is_none() {
        assert_eq!(Parser::default().push(b"id: 1\ndata: x\n"), Ok(vec![]));
    }

    #[test]
    fn a_message_without_end_is_refused() {
        let mut parser = Parser::default();
        let mebibyte = vec![b'x'; 1 << 20];
        let refused = (0..=64).any(|_| parser.push(&mebibyte) == Err(TooLong));
        assert!(refused);
    }
}
