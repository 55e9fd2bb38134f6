//! Addresses of IP sockets: the kernel's, ours, and Python's tuples.

use crate::boundary::Protected;
use crate::executor::reference::Ref;
use libc::{AF_INET, AF_INET6, c_int, sockaddr, sockaddr_in, sockaddr_in6, socklen_t};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::slice;

/// An address as the kernel has it.
#[repr(C)]
#[derive(Clone, Copy)]
pub union Raw {
    any: sockaddr,
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

impl Raw {
    /// Room for one.
    pub fn empty() -> Self {
        // SAFETY: plain numbers.
        unsafe { mem::zeroed() }
    }

    /// How much room that is.
    pub const ROOM: socklen_t = size_of::<Self>() as socklen_t;

    /// Where it is.
    pub fn as_mut_ptr(&mut self) -> *mut sockaddr {
        (&raw mut *self).cast()
    }

    /// That address, and how long it is.
    pub fn of(address: &SocketAddr) -> (Self, socklen_t) {
        let mut raw = Self::empty();
        match address {
            SocketAddr::V4(address) => {
                raw.v4 = sockaddr_in {
                    sin_family: AF_INET as _,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: address.ip().to_bits().to_be() },
                    sin_zero: [0; 8],
                };
                (raw, size_of::<sockaddr_in>() as socklen_t)
            }
            SocketAddr::V6(address) => {
                raw.v6 = sockaddr_in6 {
                    sin6_family: AF_INET6 as _,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo().to_be(),
                    sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: address.scope_id(),
                };
                (raw, size_of::<sockaddr_in6>() as socklen_t)
            }
        }
    }

    /// The address, if it is one of IP's.
    pub fn address(&self) -> Option<SocketAddr> {
        // SAFETY: every family begins like that, and all of them are plain numbers.
        match c_int::from(unsafe { self.any.sa_family }) {
            AF_INET => {
                // SAFETY: by its family.
                let raw = unsafe { self.v4 };
                let ip = Ipv4Addr::from_bits(u32::from_be(raw.sin_addr.s_addr));
                Some(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
            }
            AF_INET6 => {
                // SAFETY: by its family.
                let raw = unsafe { self.v6 };
                let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
                let (port, flow) = (u16::from_be(raw.sin6_port), u32::from_be(raw.sin6_flowinfo));
                Some(SocketAddrV6::new(ip, port, flow, raw.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// The address that a tuple of Python's names, if it is written in numbers and of that family: all else
/// is the `socket` module's to resolve, or to refuse.
///
/// # Safety
/// A live object.
pub unsafe fn from_python(object: *mut PyObject, family: c_int) -> Option<SocketAddr> {
    // SAFETY: the caller's promise; the items of a tuple live as long as it does.
    unsafe {
        if ffi::PyTuple_CheckExact(object) == 0 {
            return None;
        }
        let item = |index| ffi::PyTuple_GET_ITEM(object, index);
        let count = ffi::PyTuple_GET_SIZE(object);
        if count < 2 {
            return None;
        }
        let (host, port) = (text(item(0))?, number(item(1), u16::MAX.into())? as u16);
        match (family, count) {
            (AF_INET, 2) => Some(SocketAddrV4::new(host.parse().ok()?, port).into()),
            (AF_INET6, 2..=4) => {
                let more =
                    |index, most| if index < count { number(item(index), most) } else { Some(0) };
                let (flow, scope) = (more(2, FLOWS)?, more(3, u32::MAX)?);
                Some(SocketAddrV6::new(host.parse().ok()?, port, flow, scope).into())
            }
            _ => None,
        }
    }
}

/// What a flow's number has room for.
const FLOWS: u32 = 0xF_FFFF;

unsafe fn text<'a>(object: *mut PyObject) -> Option<&'a str> {
    // SAFETY: the caller's live object, which keeps the text.
    unsafe {
        if ffi::PyUnicode_CheckExact(object) == 0 {
            return None;
        }
        let mut len = 0;
        let place = ffi::PyUnicode_AsUTF8AndSize(object, &mut len);
        if place.is_null() {
            ffi::PyErr_Clear(); // who refuses it meets the error again
            return None;
        }
        str::from_utf8(slice::from_raw_parts(place.cast(), len as usize)).ok()
    }
}

unsafe fn number(object: *mut PyObject, most: u32) -> Option<u32> {
    // SAFETY: the caller's live object.
    unsafe {
        if ffi::PyLong_CheckExact(object) == 0 {
            return None;
        }
        let mut overflow = 0;
        let number = ffi::PyLong_AsLongLongAndOverflow(object, &mut overflow);
        let fits = overflow == 0 && (0..=i64::from(most)).contains(&number);
        fits.then_some(number as u32)
    }
}

/// The tuple by which Python names an address.
fn to_python(py: Python<'_>, address: &SocketAddr) -> PyResult<Ref> {
    let (host, port) = (address.ip().to_string(), address.port());
    let named = match address {
        SocketAddr::V4(_) => (host, port).into_pyobject(py)?,
        SocketAddr::V6(v6) => {
            (host, port, v6.flowinfo(), v6.scope_id()).into_pyobject(py)?.into_any().cast_into()?
        }
    };
    Ok(named.into_any().into())
}

/// Names that were given lately, in a place by their hash: whoever sends much is named once.
#[derive(Default)]
pub struct Names(Protected<Vec<Option<(SocketAddr, Ref)>>>);

/// So many at most.
const MOST: usize = 64;

impl Names {
    /// The name of an address.
    pub fn of(&self, py: Python<'_>, address: &SocketAddr) -> PyResult<Ref> {
        let mut hasher = DefaultHasher::new();
        address.hash(&mut hasher);
        let place = hasher.finish() as usize % MOST;
        let known = self.0.with(py, |names| match names.get(place) {
            Some(Some((known, name))) if known == address => Some(name.share()),
            _ => None,
        });
        if let Some(name) = known {
            return Ok(name);
        }
        let name = to_python(py, address)?;
        let before = self.0.with(py, |names| {
            if names.is_empty() {
                names.resize_with(MOST, || None);
            }
            names[place].replace((*address, name.share()))
        });
        drop(before);
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::Raw;
    use std::net::SocketAddr;

    #[test]
    fn the_kernels_form_and_back() {
        for text in ["127.0.0.1:80", "255.254.253.252:65535", "[::1]:80", "[fe80::1%3]:9"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(Raw::of(&address).0.address(), Some(address));
        }
        assert_eq!(Raw::empty().address(), None);
    }
}
