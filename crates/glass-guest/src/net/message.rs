//! DNS messages, as far as there is anything to say: one question, and at most one address.

use std::net::IpAddr;

const HEADER: usize = 12;
const NAME: usize = 255;
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const RECURSION: u16 = 0x0180;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const TYPE_OPTIONS: u16 = 41;
const CLASS_INTERNET: u16 = 1;
/// The addresses stay what they are.
const SECONDS: u32 = 60;
/// Extended errors of RFC 8914.
const EXTENDED_ERROR: u16 = 15;
const PROHIBITED: u16 = 18;
const FORMAT_ERROR: u16 = 1;
const NOT_IMPLEMENTED: u16 = 4;

/// What a program wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    id: u16,
    /// As it was asked, for the answer repeats it.
    wire: Vec<u8>,
    has_options: bool,
    pub(super) kind: Kind,
    /// In lower case, without a dot at the end; `None` when it is none that a host can have.
    pub(super) name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    A,
    Aaaa,
    Other,
}

/// What there is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Address(IpAddr),
    /// The name is there, and nothing of this kind.
    Nothing,
    NoSuchName,
    /// The policy does not let it be known. Programs ask again and again when they are told that they were refused, and
    /// stop when there is no such name; the reason is beside it for whoever looks.
    Prohibited,
    Failed,
}

impl Reply {
    fn code(self) -> u16 {
        match self {
            Self::Address(_) | Self::Nothing => 0,
            Self::Failed => 2,
            Self::NoSuchName | Self::Prohibited => 3,
        }
    }
}

/// `Err` has the answer to what is a question and cannot be understood; `None` in it when it is no question at all.
pub(super) fn parse(text: &[u8]) -> Result<Question, Option<Vec<u8>>> {
    let word = |at: usize| Some(u16::from_be_bytes([*text.get(at)?, *text.get(at + 1)?]));
    let (Some(id), Some(flags)) = (word(0), word(2)) else {
        return Err(None);
    };
    if flags & RESPONSE != 0 {
        return Err(None);
    }
    let refusal = |code: u16| {
        let words = [id, RESPONSE | flags & OPCODE | code, 0, 0, 0, 0];
        Some(words.iter().flat_map(|word| word.to_be_bytes()).collect())
    };
    if flags & OPCODE != 0 {
        return Err(refusal(NOT_IMPLEMENTED));
    }
    question(text, id).ok_or_else(|| refusal(FORMAT_ERROR))
}

fn question(text: &[u8], id: u16) -> Option<Question> {
    let word = |at: usize| Some(u16::from_be_bytes([*text.get(at)?, *text.get(at + 1)?]));
    if word(4)? != 1 {
        return None;
    }
    let mut at = HEADER;
    let mut labels = Vec::new();
    loop {
        match usize::from(*text.get(at)?) {
            0 => break,
            length @ 1..=63 => {
                labels.push(text.get(at + 1..at + 1 + length)?);
                at += 1 + length;
            }
            // Nothing stands before the name that it could be abbreviated by.
            _ => return None,
        }
        if at - HEADER > NAME {
            return None;
        }
    }
    let kind = match (word(at + 3)?, word(at + 1)?) {
        (CLASS_INTERNET, TYPE_A) => Kind::A,
        (CLASS_INTERNET, TYPE_AAAA) => Kind::Aaaa,
        _ => Kind::Other,
    };
    let after = at + 5;
    Some(Question {
        id,
        wire: text[HEADER..after].to_vec(),
        // The options come right after the question when nothing else does, as in every question.
        has_options: text.get(after) == Some(&0) && word(after + 1) == Some(TYPE_OPTIONS),
        kind,
        name: name(&labels),
    })
}

fn name(labels: &[&[u8]]) -> Option<String> {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if labels.is_empty() || !labels.iter().all(|label| label.iter().all(is_letter)) {
        return None;
    }
    let text = String::from_utf8(labels.join(&b'.')).ok()?;
    Some(text.to_ascii_lowercase())
}

impl Question {
    pub(super) fn answer(&self, reply: Reply) -> Vec<u8> {
        let answers = u16::from(matches!(reply, Reply::Address(_)));
        let options = u16::from(self.has_options);
        let flags = RESPONSE | RECURSION | reply.code();
        let mut text = Vec::new();
        put(&mut text, &[self.id, flags, 1, answers, 0, options]);
        text.extend(&self.wire);
        if let Reply::Address(address) = reply {
            let (kind, octets) = match address {
                IpAddr::V4(address) => (TYPE_A, address.octets().to_vec()),
                IpAddr::V6(address) => (TYPE_AAAA, address.octets().to_vec()),
            };
            // The name is where the question has it.
            put(&mut text, &[0xc00c, kind, CLASS_INTERNET]);
            text.extend(SECONDS.to_be_bytes());
            put(&mut text, &[u16::try_from(octets.len()).unwrap_or(0)]);
            text.extend(octets);
        }
        if self.has_options {
            let error: &[u16] = match reply {
                Reply::Prohibited => &[EXTENDED_ERROR, 2, PROHIBITED],
                Reply::Address(_) | Reply::Nothing | Reply::NoSuchName | Reply::Failed => &[],
            };
            let length = u16::try_from(error.len() * 2).unwrap_or(0);
            text.push(0);
            put(&mut text, &[TYPE_OPTIONS, 1232, 0, 0, length]);
            put(&mut text, error);
        }
        text
    }
}

fn put(text: &mut Vec<u8>, words: &[u16]) {
    text.extend(words.iter().flat_map(|word| word.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &[&str], kind: u16, options: bool) -> Vec<u8> {
        let mut text = Vec::new();
        put(&mut text, &[7, 0x0100, 1, 0, 0, u16::from(options)]);
        for label in name {
            text.push(u8::try_from(label.len()).unwrap());
            text.extend(label.as_bytes());
        }
        text.push(0);
        put(&mut text, &[kind, 1]);
        if options {
            text.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        }
        text
    }

    #[test]
    fn a_question_is_answered_with_its_own_words() {
        let text = asked(&["Example", "com"], 1, false);
        let question = parse(&text).unwrap();
        assert_eq!(
            (question.kind, question.name.as_deref()),
            (Kind::A, Some("example.com"))
        );
        let answer = question.answer(Reply::Address([198, 18, 0, 2].into()));
        assert_eq!(&answer[..12], [0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(answer[12..text.len()], text[12..]);
        assert_eq!(
            answer[text.len()..],
            [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 18, 0, 2]
        );
    }

    #[test]
    fn why_a_name_is_not_known_is_said_to_whoever_can_read_it() {
        let question = parse(&asked(&["a"], 28, true)).unwrap();
        let answer = question.answer(Reply::Prohibited);
        assert_eq!(answer[3] & 0xf, 3);
        assert_eq!(answer[answer.len() - 8..], [0, 6, 0, 15, 0, 2, 0, 18]);
    }

    #[test]
    fn what_is_no_question_gets_no_answer_and_what_is_a_strange_one_gets_an_error() {
        assert_eq!(parse(&[0; 3]), Err(None));
        let mut answer = asked(&["a"], 1, false);
        answer[2] |= 0x80;
        assert_eq!(parse(&answer), Err(None));
        let mut abbreviated = asked(&["a"], 1, false);
        abbreviated[12] = 0xc0;
        for text in [
            asked(&[], 1, false)[..11].to_vec(),
            asked(&["a"], 1, false)[..14].to_vec(),
            asked(&["a"; 200], 1, false),
            abbreviated,
        ] {
            let refused = parse(&text).unwrap_err().unwrap();
            assert_eq!((refused.len(), refused[3] & 0xf), (12, 1));
        }
        assert_eq!(parse(&asked(&["a b"], 1, false)).unwrap().name, None);
        assert_eq!(parse(&asked(&["a\r\nx"], 1, false)).unwrap().name, None);
    }
}
