//! The command line of `load`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::answer::Framing;

/// How it is used.
pub const USAGE: &str = "\
usage: load HOST:PORT [--connections N] [--size BYTES | --http] [--datagrams | --tls] [--idle N]
                      [--seconds S | --count N]

Each connection sends a message of BYTES and reads it back whole, again and again; with --http it
asks for / and reads the response. With --datagrams a message is one datagram; with --tls streams
are encrypted, and any certificate will do. --idle connections have one exchange and stay open.
Prints a line of JSON. Without --seconds or --count it prints `ready`, then runs once for each line
of its standard input, `seconds S` or `count N`.";

/// What messages go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// TCP.
    Stream,
    /// UDP: a message is a datagram, and not part of a stream.
    Datagrams,
    /// TLS over TCP.
    Tls,
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// After so many exchanges.
    Count(u64),
    /// When no more exchanges are begun.
    Time(Duration),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Where the server listens.
    pub to: SocketAddr,
    /// How many connections work.
    pub connections: usize,
    /// How many are held open beside them.
    pub idle: usize,
    /// What is asked and answered.
    pub framing: Framing,
    /// What carries it.
    pub over: Over,
    /// One run, or one for each line of the standard input.
    pub goal: Option<Goal>,
}

impl Options {
    /// Reads the arguments after the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut rest = arguments.into_iter();
        let to = rest.next().ok_or(USAGE)?;
        let to = to.parse().map_err(|_| format!("{to} is no HOST:PORT"))?;
        let framing = Framing::Fixed(1024);
        let mut options =
            Self { to, connections: 10, idle: 0, framing, over: Over::Stream, goal: None };
        while let Some(name) = rest.next() {
            match name.as_str() {
                "--http" => options.framing = Framing::Http,
                "--datagrams" => options.go_over(Over::Datagrams)?,
                "--tls" => options.go_over(Over::Tls)?,
                _ => {
                    let value = rest.next().ok_or_else(|| format!("{name} needs a value"))?;
                    options.set(&name, &value)?;
                }
            }
        }
        Ok(options)
    }

    fn go_over(&mut self, over: Over) -> Result<(), String> {
        if ![Over::Stream, over].contains(&self.over) {
            return Err("--datagrams and --tls exclude each other".into());
        }
        self.over = over;
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "--connections" => self.connections = number(value)?,
            "--idle" => self.idle = number(value)?,
            "--size" => self.framing = Framing::Fixed(number(value)?),
            _ => self.goal = Some(goal(name.trim_start_matches("--"), value)?),
        }
        Ok(())
    }

    /// What a connection sends: bytes that are unlike their neighbours, or a GET.
    pub fn request(&self) -> Vec<u8> {
        match self.framing {
            Framing::Fixed(size) => (0..size).map(|i| (i % 251) as u8).collect(),
            Framing::Http => format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", self.to).into_bytes(),
        }
    }
}

/// Reads `seconds S` or `count N`.
pub fn goal(word: &str, value: &str) -> Result<Goal, String> {
    match word {
        "count" => Ok(Goal::Count(number(value)?)),
        "seconds" => {
            let seconds = value.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
            Ok(Goal::Time(seconds.ok_or_else(|| format!("{value} is no time in seconds"))?))
        }
        _ => Err(format!("{word} is neither count nor seconds")),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn arguments_are_read() {
        let made = parse("127.0.0.1:80 --connections 3 --size 7 --idle 2 --seconds 0.5").unwrap();
        assert_eq!((made.connections, made.idle, made.framing), (3, 2, Framing::Fixed(7)));
        assert_eq!(made.goal, Some(Goal::Time(Duration::from_millis(500))));
        assert_eq!(made.request(), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(parse("127.0.0.1:80 --http").unwrap().framing, Framing::Http);
        for (line, over) in [
            ("127.0.0.1:80 --size 7", Over::Stream),
            ("127.0.0.1:80 --datagrams --size 7", Over::Datagrams),
            ("127.0.0.1:80 --tls --size 7", Over::Tls),
        ] {
            let made = parse(line).unwrap();
            assert_eq!((made.over, made.framing), (over, Framing::Fixed(7)), "{line}");
        }
    }

    #[test]
    fn what_is_no_argument_is_named() {
        for (line, says) in [
            ("", "usage"),
            ("nowhere", "no HOST:PORT"),
            ("127.0.0.1:80 --size", "needs a value"),
            ("127.0.0.1:80 --size big", "no number"),
            ("127.0.0.1:80 --seconds -1", "no time"),
            ("127.0.0.1:80 --tea 1", "neither count nor seconds"),
            ("127.0.0.1:80 --tls --datagrams", "exclude each other"),
        ] {
            assert!(parse(line).unwrap_err().contains(says), "{line}");
        }
    }
}
