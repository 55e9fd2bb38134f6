//! Where an answer ends: after a number of bytes, or where HTTP says.

use std::io;

const HEAD_END: &[u8] = b"\r\n\r\n";
const LENGTH: &[u8] = b"content-length:";

/// What a server is asked, and how its answers are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes, as an echo has.
    Fixed(usize),
    /// A head with a content-length, and so many bytes.
    Http,
}

/// One answer as it comes in; it is used for one after the other.
pub struct Answer {
    framing: Framing,
    whole: Option<usize>,
    received: usize,
    head: Vec<u8>,
}

impl Answer {
    /// Nothing has come yet.
    pub fn new(framing: Framing) -> Self {
        let whole = if let Framing::Fixed(size) = framing { Some(size) } else { None };
        Self { framing, whole, received: 0, head: Vec::new() }
    }

    /// Takes what was read; whether the answer is whole now.
    pub fn feed(&mut self, chunk: &[u8]) -> io::Result<bool> {
        self.received += chunk.len();
        if self.whole.is_none() {
            self.head.extend_from_slice(chunk);
            self.whole = length_of(&self.head)?;
        }
        match self.whole {
            Some(whole) if self.received > whole => Err(broken("more than one answer")),
            whole => Ok(whole == Some(self.received)),
        }
    }

    /// The next one is expected; memory is kept.
    pub fn reset(&mut self) {
        self.received = 0;
        if self.framing == Framing::Http {
            self.whole = None;
            self.head.clear();
        }
    }
}

/// Bytes of a response with its head; nothing if the head is not there as a whole.
fn length_of(text: &[u8]) -> io::Result<Option<usize>> {
    let Some(end) = text.windows(HEAD_END.len()).position(|four| four == HEAD_END) else {
        return Ok(None);
    };
    let head = &text[..end];
    if !head.starts_with(b"HTTP/1.1 200") {
        return Err(broken("an answer that is not 200"));
    }
    let value = head.split(|byte| *byte == b'\n').find_map(content_length);
    let body = value.ok_or_else(|| broken("an answer without content-length"))?;
    Ok(Some(end + HEAD_END.len() + body))
}

fn content_length(line: &[u8]) -> Option<usize> {
    let (name, value) = line.split_at_checked(LENGTH.len())?;
    if !name.eq_ignore_ascii_case(LENGTH) {
        return None;
    }
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nserver: x\r\n\r\nhello";

    #[test]
    fn an_echo_ends_after_its_bytes() {
        let mut answer = Answer::new(Framing::Fixed(3));
        assert!(!answer.feed(b"ab").unwrap());
        assert!(answer.feed(b"c").unwrap());
        answer.reset();
        assert!(answer.feed(b"abc").unwrap());
        answer.reset();
        assert!(answer.feed(b"abcd").is_err());
    }

    #[test]
    fn a_response_ends_where_it_says_however_it_is_cut() {
        for cut in 1..RESPONSE.len() {
            let mut answer = Answer::new(Framing::Http);
            for _ in 0..2 {
                assert!(!answer.feed(&RESPONSE[..cut]).unwrap());
                assert!(answer.feed(&RESPONSE[cut..]).unwrap());
                answer.reset();
            }
        }
    }

    #[test]
    fn what_is_no_good_response_is_an_error() {
        for text in ["HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            assert!(Answer::new(Framing::Http).feed(text.as_bytes()).is_err());
        }
    }
}
