//! Socket transports: reading and writing, natively, behind `asyncio`'s own transport class.
//!
//! `TransportBase` is derived from the class that asyncio's selector loop uses. What happens once
//! (set-up, closing, errors, flow control's callbacks) is that class's code, which reads and sets the
//! attributes that are kept in a [`Connection`]; what happens for each packet is here.

mod attributes;
mod connection;
mod holding;
mod lines;
mod reading;
mod receiving;
mod spare;
mod writing;

pub use connection::Connection;
pub use holding::is_to_hold;
pub use reading::{Reading, call_method, read, view_of_buffer};
pub use receiving::{
    Left, MOST, Source, cut, domain, is_cut, receive_bytes, receive_message, with_room,
};
pub use spare::{Spare, place, set_len};
pub use writing::{
    free_socket, has_written, send, send_copied, snapshot, write_more, writes_natively,
};

use crate::boundary::{Behind, Outline, method, noargs, one_by_name};
use pyo3::prelude::*;

/// Where a transport's connection is.
pub static TRANSPORT: Behind<Connection> = Behind::new(c"_counterpoint_connection");

/// Makes the class.
pub fn make(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    connection::prepare(py)?;
    let base = py.import("asyncio.selector_events")?.getattr("_SelectorSocketTransport")?;
    let lines = c"writelines($self, list_of_data)\n--\n\nSend all of it, in order.";
    let size = c"get_write_buffer_size($self)\n--\n\nBytes that are accepted and not sent.";
    let closing = c"is_closing($self)\n--\n\nWhether it is closed, or about to be.";
    let class = TRANSPORT.make(
        &base,
        Outline {
            name: c"counterpoint._core.event_loop.TransportBase",
            methods: vec![
                one_by_name::<writing::Write>(
                    c"write",
                    c"write($self, data)\n--\n\nSend data, in order.",
                ),
                one_by_name::<lines::WriteLines>(c"writelines", lines),
                noargs(c"get_write_buffer_size", attributes::unsent, size),
                noargs(c"is_closing", attributes::is_closing, closing),
                method(c"_add_reader", attributes::add_reader, c"Read from now on."),
            ],
            attributes: attributes::attributes(),
        },
    )?;
    writing::prepare(&class)?;
    Ok(class)
}
