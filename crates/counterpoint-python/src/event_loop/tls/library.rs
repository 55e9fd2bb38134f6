//! The functions of the libssl that the interpreter's own `_ssl` has loaded.
//!
//! They are looked up in the extension module itself, and so in what it was linked with: there is
//! no other libssl that could be meant. Where it hides them (linked statically, or built in), there
//! are none, and TLS is asyncio's.

use pyo3::prelude::*;
use std::ffi::{CStr, CString, c_char, c_int, c_long, c_ulong, c_void};
use std::mem;
use std::sync::OnceLock;

/// libssl's `SSL`.
#[repr(C)]
pub struct Ssl(c_void);

/// libcrypto's `BIO`.
#[repr(C)]
pub struct Bio(c_void);

/// libcrypto's `BIO_METHOD`.
#[repr(C)]
pub struct Method(c_void);

type Read = unsafe extern "C" fn(*mut Bio, *mut c_char, usize, *mut usize) -> c_int;
type Write = unsafe extern "C" fn(*mut Bio, *const c_char, usize, *mut usize) -> c_int;
type Control = unsafe extern "C" fn(*mut Bio, c_int, c_long, *mut c_void) -> c_long;

/// `SSL_ERROR_WANT_READ`: it needs more from the peer.
pub const WANT_READ: c_int = 2;
/// `SSL_ERROR_ZERO_RETURN`: the peer has said that it sends no more.
pub const ZERO_RETURN: c_int = 6;

/// `BIO_CTRL_PENDING`.
const PENDING: c_int = 10;

/// The functions that are used.
pub struct Library {
    pub read: unsafe extern "C" fn(*mut Ssl, *mut c_void, usize, *mut usize) -> c_int,
    pub write: unsafe extern "C" fn(*mut Ssl, *const c_void, usize, *mut usize) -> c_int,
    pub decrypted: unsafe extern "C" fn(*const Ssl) -> c_int,
    pub has_pending: unsafe extern "C" fn(*const Ssl) -> c_int,
    pub why: unsafe extern "C" fn(*const Ssl, c_int) -> c_int,
    pub incoming_of: unsafe extern "C" fn(*const Ssl) -> *mut Bio,
    pub outgoing_of: unsafe extern "C" fn(*const Ssl) -> *mut Bio,
    pub put: unsafe extern "C" fn(*mut Bio, *const c_void, c_int) -> c_int,
    pub take: unsafe extern "C" fn(*mut Bio, *mut c_void, c_int) -> c_int,
    control: Control,
    pub set_bios: unsafe extern "C" fn(*mut Ssl, *mut Bio, *mut Bio),
    pub new: unsafe extern "C" fn(*const Method) -> *mut Bio,
    pub share: unsafe extern "C" fn(*mut Bio) -> c_int,
    pub free: unsafe extern "C" fn(*mut Bio) -> c_int,
    pub data: unsafe extern "C" fn(*mut Bio) -> *mut c_void,
    pub set_data: unsafe extern "C" fn(*mut Bio, *mut c_void),
    pub set_ready: unsafe extern "C" fn(*mut Bio, c_int),
    pub set_flags: unsafe extern "C" fn(*mut Bio, c_int),
    pub clear_flags: unsafe extern "C" fn(*mut Bio, c_int),
    pub new_index: unsafe extern "C" fn() -> c_int,
    pub new_method: unsafe extern "C" fn(c_int, *const c_char) -> *mut Method,
    pub set_read: unsafe extern "C" fn(*mut Method, Read) -> c_int,
    pub set_write: unsafe extern "C" fn(*mut Method, Write) -> c_int,
    pub set_control: unsafe extern "C" fn(*mut Method, Control) -> c_int,
    pub set_destroy:
        unsafe extern "C" fn(*mut Method, unsafe extern "C" fn(*mut Bio) -> c_int) -> c_int,
    peek_error: unsafe extern "C" fn() -> c_ulong,
    clear_errors: unsafe extern "C" fn(),
}

static LIBRARY: OnceLock<Option<Library>> = OnceLock::new();

impl Library {
    /// It, if it can be used; looked for once.
    pub fn get(py: Python<'_>) -> Option<&'static Self> {
        if LIBRARY.get().is_none() {
            // Not while others wait for it: Python may run here.
            let found = Self::find(py).ok().flatten();
            let _ = LIBRARY.set(found);
        }
        Self::loaded()
    }

    /// It, if it was found.
    #[inline(always)]
    pub fn loaded() -> Option<&'static Self> {
        LIBRARY.get()?.as_ref()
    }

    fn find(py: Python<'_>) -> PyResult<Option<Self>> {
        let module = py.import("_ssl")?;
        let file: String = module.getattr("__file__")?.extract()?;
        let number: c_ulong = module.getattr("OPENSSL_VERSION_NUMBER")?.extract()?;
        let file = CString::new(file)?;
        // SAFETY: a path; what is loaded already is not loaded again, nor ever unloaded.
        let handle = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        if handle.is_null() {
            return Ok(None);
        }
        // SAFETY: a handle, and the types that the library documents.
        Ok(unsafe { Self::link(handle) }.filter(|&(_, version)| version == number).map(|l| l.0))
    }

    /// The functions, and the library's version.
    ///
    /// # Safety
    /// A handle of `dlopen`.
    unsafe fn link(handle: *mut c_void) -> Option<(Self, c_ulong)> {
        // SAFETY: the caller's promise; each function has the type of its field.
        unsafe {
            let version: unsafe extern "C" fn() -> c_ulong =
                symbol(handle, c"OpenSSL_version_num")?;
            let library = Self {
                read: symbol(handle, c"SSL_read_ex")?,
                write: symbol(handle, c"SSL_write_ex")?,
                decrypted: symbol(handle, c"SSL_pending")?,
                has_pending: symbol(handle, c"SSL_has_pending")?,
                why: symbol(handle, c"SSL_get_error")?,
                incoming_of: symbol(handle, c"SSL_get_rbio")?,
                outgoing_of: symbol(handle, c"SSL_get_wbio")?,
                put: symbol(handle, c"BIO_write")?,
                take: symbol(handle, c"BIO_read")?,
                control: symbol(handle, c"BIO_ctrl")?,
                set_bios: symbol(handle, c"SSL_set_bio")?,
                new: symbol(handle, c"BIO_new")?,
                share: symbol(handle, c"BIO_up_ref")?,
                free: symbol(handle, c"BIO_free")?,
                data: symbol(handle, c"BIO_get_data")?,
                set_data: symbol(handle, c"BIO_set_data")?,
                set_ready: symbol(handle, c"BIO_set_init")?,
                set_flags: symbol(handle, c"BIO_set_flags")?,
                clear_flags: symbol(handle, c"BIO_clear_flags")?,
                new_index: symbol(handle, c"BIO_get_new_index")?,
                new_method: symbol(handle, c"BIO_meth_new")?,
                set_read: symbol(handle, c"BIO_meth_set_read_ex")?,
                set_write: symbol(handle, c"BIO_meth_set_write_ex")?,
                set_control: symbol(handle, c"BIO_meth_set_ctrl")?,
                set_destroy: symbol(handle, c"BIO_meth_set_destroy")?,
                peek_error: symbol(handle, c"ERR_peek_error")?,
                clear_errors: symbol(handle, c"ERR_clear_error")?,
            };
            Some((library, version()))
        }
    }

    /// How much is in a memory BIO.
    ///
    /// # Safety
    /// A live one.
    #[inline(always)]
    pub unsafe fn pending(&self, bio: *mut Bio) -> usize {
        // SAFETY: the caller's promise.
        let pending = unsafe { (self.control)(bio, PENDING, 0, std::ptr::null_mut()) };
        usize::try_from(pending).unwrap_or(0)
    }

    /// Forgets errors that somebody left behind in this thread: they would be taken for the next
    /// call's.
    #[inline(always)]
    pub fn forget_errors(&self) {
        // SAFETY: they have no requirements.
        unsafe {
            if (self.peek_error)() != 0 {
                (self.clear_errors)();
            }
        }
    }
}

/// # Safety
/// A handle of `dlopen`; `F` is the type of a pointer to that function.
unsafe fn symbol<F>(handle: *mut c_void, name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: the caller's promise.
    unsafe {
        let found = libc::dlsym(handle, name.as_ptr());
        (!found.is_null()).then(|| mem::transmute_copy::<*mut c_void, F>(&found))
    }
}
