//! The listener: a thread that hands on what workers say, log records and lines of output.
//!
//! Handlers of the user's deal with that, and take as long as they like. So it is not the courier:
//! whatever holds them up holds up no callback, no launch and no news of a death. A worker that
//! says more than they deal with waits: `counterpoint_pool` sees to that.

use super::pool::Core;
use crate::boundary::halts_at_exit;
use crate::executor::future::log_critical;
use counterpoint_pool::Word;
use pyo3::intern;
use pyo3::prelude::*;
use std::thread;

/// Hands on until nothing follows.
pub fn listen(core: &Core) {
    let _ = core.listener.set(thread::current().id());
    halts_at_exit();
    Python::try_attach(|py| {
        loop {
            for word in py.detach(|| core.shared.speech.wait()) {
                if matches!(word, Word::Over) {
                    return;
                }
                if let Err(error) = hand_on(py, core, word) {
                    log_critical(py, "Exception in the pool's listener", error);
                }
            }
        }
    });
}

fn hand_on(py: Python<'_>, core: &Core, word: Word) -> PyResult<()> {
    match word {
        Word::Said { station, pid, inlet, bytes, weight } => {
            let arguments = (station, inlet as u8, pid, &*bytes);
            let done = core.hooks.call_method1(py, intern!(py, "message"), arguments);
            core.shared.relieve(weight);
            done.map(drop)
        }
        Word::Gone { station, pid, lost } => {
            core.hooks.call_method1(py, intern!(py, "gone"), (station, pid, lost)).map(drop)
        }
        Word::Over => Ok(()),
    }
}
