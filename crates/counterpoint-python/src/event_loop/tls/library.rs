//! The functions of the libssl that the interpreter's own `_ssl` has loaded.
//!
//! They are looked up in the extension module itself, and so in what it was linked with: there is
//! no other libssl that could be meant. Where it hides them (linked statically, or built in), there
//! are none, and TLS is asyncio's.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::ffi::{CStr, CString, c_int, c_long, c_ulong, c_void};
use std::mem;

/// libssl's `SSL`.
#[repr(C)]
pub struct Ssl(c_void);

/// libcrypto's `BIO`.
#[repr(C)]
pub struct Bio(c_void);

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
    control: unsafe extern "C" fn(*mut Bio, c_int, c_long, *mut c_void) -> c_long,
    peek_error: unsafe extern "C" fn() -> c_ulong,
    clear_errors: unsafe extern "C" fn(),
}

impl Library {
    /// It, if it can be used; found once.
    pub fn get(py: Python<'_>) -> Option<&'static Self> {
        static LIBRARY: PyOnceLock<Option<Library>> = PyOnceLock::new();
        LIBRARY.get_or_init(py, || Self::find(py).ok().flatten()).as_ref()
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
            let version: unsafe extern "C" fn() -> c_ulong = symbol(handle, c"OpenSSL_version_num")?;
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
