//! [`halts_at_exit`]: a thread that Python code of ours runs in stops where it is once the
//! interpreter is gone, as every thread does from CPython 3.14 on.
//!
//! Before, an interpreter that ends has each thread that wants it back call `pthread_exit`, which
//! unwinds the stack; frames of Rust cannot be unwound so, and the process would abort. glibc runs
//! a thread's cleanup buffers (`_pthread_cleanup_push`, of the Linux Standard Base) as soon as the
//! frame that holds them is left, which it reads off their addresses: one outside of the stack
//! counts as left before the first frame is. So a buffer on the heap is called before anything is
//! unwound, and never returns if there are frames of ours to unwind.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;

/// glibc's `struct _pthread_cleanup_buffer`.
#[repr(C)]
struct Buffer {
    routine: Option<unsafe extern "C" fn(*mut c_void)>,
    argument: *mut c_void,
    canceltype: c_int,
    previous: *mut Buffer,
}

impl Buffer {
    const fn new() -> Self {
        let (argument, previous) = (ptr::null_mut(), ptr::null_mut());
        Self { routine: None, argument, canceltype: 0, previous }
    }
}

unsafe extern "C" {
    fn _pthread_cleanup_push(
        buffer: *mut Buffer,
        routine: unsafe extern "C" fn(*mut c_void),
        argument: *mut c_void,
    );
    fn _pthread_cleanup_pop(buffer: *mut Buffer, execute: c_int);
    fn _Unwind_Backtrace(
        visit: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
    #[cfg_attr(not(Py_3_13), link_name = "_Py_IsFinalizing")]
    fn Py_IsFinalizing() -> c_int;
}

/// A buffer that is in force until its thread ends or is unwound.
struct InForce(Cell<*mut Buffer>);

impl InForce {
    /// Whether it is among those of this thread. A `longjmp` drops all that are not on the stack.
    fn is_set(&self) -> bool {
        let mut at = head();
        while !at.is_null() && at != self.0.get() {
            // SAFETY: in force, so it is there: a buffer of glibc's layout.
            at = unsafe { (*at).previous };
        }
        !at.is_null()
    }

    fn set(&self) {
        if self.0.get().is_null() {
            self.0.set(Box::into_raw(Box::new(Buffer::new())));
        }
        // SAFETY: laid out as the function expects, not in force, and freed only by the destructor.
        unsafe { _pthread_cleanup_push(self.0.get(), halt, ptr::null_mut()) };
    }
}

impl Drop for InForce {
    fn drop(&mut self) {
        let buffer = self.0.replace(ptr::null_mut());
        // Where it is not the first it is left alone.
        if !buffer.is_null() && head() == buffer {
            // SAFETY: the thread's own, which has returned from all that it ran. Nothing names the
            // buffer once it is popped.
            unsafe {
                _pthread_cleanup_pop(buffer, 0);
                drop(Box::from_raw(buffer));
            }
        }
    }
}

/// The thread's innermost buffer.
fn head() -> *mut Buffer {
    let mut probe = Buffer::new();
    // SAFETY: pushed and popped again at once.
    unsafe {
        _pthread_cleanup_push(&raw mut probe, halt, ptr::null_mut());
        _pthread_cleanup_pop(&raw mut probe, 0);
    }
    probe.previous
}

thread_local! {
    static BUFFER: InForce = const { InForce(Cell::new(ptr::null_mut())) };
}

/// Has this thread stop if the interpreter ends while it runs Python code that we called.
#[inline]
pub fn halts_at_exit() {
    thread_local! {
        static IS_SET: Cell<bool> = const { Cell::new(false) };
    }
    if !IS_SET.replace(true) {
        set();
    }
}

/// The same where a thread is about to sleep: some C code that it ran may have undone it.
pub fn still_halts_at_exit() {
    halts_at_exit();
    let _ = BUFFER.try_with(|buffer| {
        if !buffer.is_set() {
            buffer.set();
        }
    });
}

#[cold]
fn set() {
    // A thread whose destructors have run already is not looked after any more.
    let _ = BUFFER.try_with(InForce::set);
}

/// Called in a thread that `pthread_exit` is to end.
unsafe extern "C" fn halt(_: *mut c_void) {
    // SAFETY: may be called at any time, attached or not.
    if unsafe { Py_IsFinalizing() } == 0 || !has_frames_of_ours() {
        return;
    }
    loop {
        // SAFETY: has no precondition.
        unsafe { libc::pause() };
    }
}

/// What is looked for on a stack.
#[derive(Default)]
struct Search {
    /// Where this library is.
    library: usize,
    /// Whether the frames of the search itself have been passed.
    is_outside: bool,
    found: bool,
}

/// Whether frames of this library have called what called this.
fn has_frames_of_ours() -> bool {
    let library = library_of(has_frames_of_ours as *const () as usize);
    let mut search = Search { library, ..Search::default() };
    // SAFETY: `visit` takes the search for what it is, and it outlives the walk.
    unsafe { _Unwind_Backtrace(visit, (&raw mut search).cast()) };
    search.found
}

unsafe extern "C" fn visit(context: *mut c_void, search: *mut c_void) -> c_int {
    // SAFETY: both are what `_Unwind_Backtrace` was given or hands out.
    let (search, at) = unsafe { (&mut *search.cast::<Search>(), _Unwind_GetIP(context)) };
    let is_ours = library_of(at) == search.library;
    search.found |= search.is_outside && is_ours;
    search.is_outside |= !is_ours;
    c_int::from(search.found)
}

/// Where the library begins that has this address in it; 0: none has.
fn library_of(address: usize) -> usize {
    // SAFETY: all zeros is a value of the type; the call writes it or leaves it alone.
    unsafe {
        let mut found: libc::Dl_info = std::mem::zeroed();
        libc::dladdr(address as *const c_void, &mut found);
        found.dli_fbase as usize
    }
}
