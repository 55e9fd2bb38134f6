//! What a call is, in words, for the error of one that will never end.
//!
//! Nothing is unpickled for that, as it would run code: arguments are shown if they were written by
//! hand.

use super::format::*;
use super::intern::Interner;
use super::read::Reader;
use pyo3::prelude::*;

/// How many characters of one argument are shown.
const LONGEST: usize = 60;

/// The call that a record holds, about as it would be written; `None` if that cannot be said.
pub fn describe_call(py: Python<'_>, record: &[u8], interner: &Interner) -> Option<String> {
    let mut reader = Reader::new(record);
    let mut tag = reader.u8().ok()?;
    if tag == IN_CONTEXT {
        let length = reader.u32().ok()? as usize;
        reader.take(length).ok()?;
        tag = reader.u8().ok()?;
    }
    match tag {
        CALL | NAMED_CALL => {
            let name = name(py, reader.u32().ok()?, interner)?;
            let arguments = arguments(py, &mut reader, tag).unwrap_or_else(|| "...".into());
            Some(format!("{name}({arguments})"))
        }
        PICKLED_CALL => {
            let shape = reader.u8().ok()?;
            let id = reader.u32().ok()?;
            let known = if shape & HAS_FUNCTION == 0 { name(py, id, interner) } else { None };
            Some(known.map_or("a function without a name".into(), |name| format!("{name}(...)")))
        }
        _ => None,
    }
}

fn name(py: Python<'_>, id: u32, interner: &Interner) -> Option<String> {
    let function = interner.function(py, id)?;
    let text = |name| function.getattr(name).ok()?.extract::<String>().ok();
    let name = text("__qualname__").or_else(|| text("__name__"))?;
    match text("__module__") {
        Some(module) if module != "builtins" => Some(format!("{module}.{name}")),
        _ => Some(name),
    }
}

fn arguments(py: Python<'_>, reader: &mut Reader<'_>, tag: u8) -> Option<String> {
    let count = reader.u8().ok()? as usize;
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        texts.push(argument(py, reader)?);
    }
    if tag == NAMED_CALL {
        let names: Vec<String> = reader.value(py, 0).ok()?.extract().ok()?;
        let first = count.checked_sub(names.len())?;
        for (text, name) in texts[first..].iter_mut().zip(names) {
            *text = format!("{name}={text}");
        }
    }
    Some(texts.join(", "))
}

fn argument(py: Python<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let refuse = &mut |_: u32| Err(pyo3::exceptions::PyValueError::new_err("not here"));
    let Ok(value) = reader.top(py, refuse) else {
        // A large one, which is not read; what it raised concerns nobody.
        drop(PyErr::take(py));
        return Some("...".into());
    };
    let text = value.repr().ok()?.to_string();
    let short: String = text.chars().take(LONGEST).collect();
    Some(if short.len() < text.len() { format!("{short}...") } else { short })
}
