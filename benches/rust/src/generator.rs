//! The load generator: connections with one exchange in flight each.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::connection::Connection;
use crate::options::{Goal, Options};
use crate::poll::{Poller, READ, WRITE, no_events};

const BUFFER_BYTES: usize = 256 * 1024;
const LONGEST_NS: u64 = 600_000_000_000;
const DIGITS: u8 = 3;
/// asyncio's servers listen with a backlog of 100.
const AT_ONCE: usize = 64;

/// Connections that are open and run on demand.
pub struct Generator {
    poller: Poller,
    connections: Vec<Connection>,
    _idle: Vec<Connection>,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

/// What came out of one run; displayed as a line of JSON.
pub struct Report {
    count: u64,
    elapsed: Duration,
    latencies: Histogram<u64>,
}

/// What is left to do in a run.
struct Remaining {
    goal: Goal,
    begun: u64,
    since: Instant,
}

impl Remaining {
    /// Whether another exchange is to be begun now; it counts as begun then.
    fn begin(&mut self, now: Instant) -> bool {
        let wanted = match self.goal {
            Goal::Count(count) => self.begun < count,
            Goal::Time(length) => now - self.since < length,
        };
        self.begun += u64::from(wanted);
        wanted
    }
}

impl Generator {
    /// Opens all connections, each with one exchange.
    pub fn open(options: &Options) -> io::Result<Self> {
        let (request, mut buffer) = (options.request(), vec![0; BUFFER_BYTES]);
        let connections = open(options.connections, options, &request, &mut buffer)?;
        let idle = open(options.idle, options, &request, &mut buffer)?;
        let poller = Poller::new()?;
        for (token, connection) in connections.iter().enumerate() {
            poller.add(connection, token, READ)?;
        }
        Ok(Self { poller, connections, _idle: idle, request, buffer })
    }

    /// Runs until the goal is reached and every answer has come.
    pub fn run(&mut self, goal: Goal) -> io::Result<Report> {
        let mut latencies = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("bounds");
        let since = Instant::now();
        let mut remaining = Remaining { goal, begun: 0, since };
        let mut in_flight = 0_usize;
        for token in 0..self.connections.len() {
            in_flight += usize::from(self.begin(token, &mut remaining, Instant::now())?);
        }
        let mut ready = no_events();
        while in_flight > 0 {
            for event in self.poller.wait(&mut ready)? {
                let (token, events) = (event.u64 as usize, event.events);
                if events & WRITE != 0 {
                    self.send_rest(token)?;
                }
                if events & !WRITE != 0 && self.connections[token].receive(&mut self.buffer)? {
                    let now = Instant::now();
                    let took = (now - self.connections[token].started).as_nanos() as u64;
                    latencies.saturating_record(took);
                    in_flight -= usize::from(!self.begin(token, &mut remaining, now)?);
                }
            }
        }
        Ok(Report { count: latencies.len(), elapsed: since.elapsed(), latencies })
    }

    /// Begins an exchange on a connection, unless the run is to end.
    fn begin(&mut self, token: usize, left: &mut Remaining, now: Instant) -> io::Result<bool> {
        if !left.begin(now) {
            return Ok(false);
        }
        let connection = &mut self.connections[token];
        connection.start(&self.request, now)?;
        if connection.is_blocked {
            self.poller.change(connection, token, READ | WRITE)?;
        }
        Ok(true)
    }

    fn send_rest(&mut self, token: usize) -> io::Result<()> {
        let connection = &mut self.connections[token];
        connection.send(&self.request)?;
        if !connection.is_blocked {
            self.poller.change(connection, token, READ)?;
        }
        Ok(())
    }
}

/// Opens connections, as many at once as wait in a server's queue without loss.
fn open(
    count: usize,
    options: &Options,
    request: &[u8],
    buffer: &mut [u8],
) -> io::Result<Vec<Connection>> {
    let mut opened = Vec::with_capacity(count);
    while opened.len() < count {
        let first = opened.len();
        for _ in first..count.min(first + AT_ONCE) {
            opened.push(Connection::open(options, request)?);
        }
        for connection in &mut opened[first..] {
            connection.greet(options.framing, request, buffer)?;
        }
    }
    Ok(opened)
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |quantile| self.latencies.value_at_quantile(quantile);
        write!(
            formatter,
            r#"{{"count": {}, "elapsed_ns": {}, "p50_ns": {}, "p99_ns": {}, "max_ns": {}}}"#,
            self.count,
            self.elapsed.as_nanos(),
            at(0.5),
            at(0.99),
            self.latencies.max()
        )
    }
}
