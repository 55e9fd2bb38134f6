//! The numbers of the format. A record never leaves the machine nor outlives the processes.

/// From how many bytes on a buffer travels out of band.
pub const OUTSIDE: usize = 64 * 1024;

/// How many functions one pool gives a number.
pub const MAX_FUNCTIONS: usize = 1024;

/// How many bytes are written by hand; what is larger is pickled, but for bytes that stand alone.
pub const MAX_WRITTEN: usize = 16 * 1024;

/// How deeply containers may be nested in what is written by hand.
pub const MAX_DEPTH: usize = 4;

/// How many containers are written by hand: each is compared with all before it.
pub const MAX_CONTAINERS: usize = 64;

// Values.
pub const NONE: u8 = 0;
pub const TRUE: u8 = 1;
pub const FALSE: u8 = 2;
/// i8.
pub const INT8: u8 = 3;
/// i32.
pub const INT32: u8 = 4;
/// i64.
pub const INT64: u8 = 5;
/// The bits of a double.
pub const FLOAT: u8 = 6;
/// Length: u8, code points below 256.
pub const SHORT_STR: u8 = 7;
/// Bytes in a code point: u8 (1, 2 or 4), length in code points: u32, code points as in memory.
pub const STR: u8 = 8;
/// Length: u32, bytes.
pub const BYTES: u8 = 9;
/// What comes before them.
pub const BYTES_HEAD: usize = 5;
/// Count: u16, values.
pub const TUPLE: u8 = 10;
/// Count: u16, values.
pub const LIST: u8 = 11;
/// Count: u16, keys and values in turn.
pub const DICT: u8 = 12;

// Values that stand alone: an argument or a result.
/// Buffer: u32, to be a bytes object.
pub const OUTSIDE_BYTES: u8 = 32;
/// Buffer: u32, to be a bytearray.
pub const OUTSIDE_BYTEARRAY: u8 = 33;
/// A stream.
pub const PICKLE: u8 = 34;

// Records.
pub const CALL: u8 = 64;
pub const NAMED_CALL: u8 = 65;
pub const PICKLED_CALL: u8 = 66;
pub const EXCEPTION: u8 = 67;
/// Stands before a call: length: u32, its context.
pub const IN_CONTEXT: u8 = 68;

// Where a stream is.
pub const WITHIN: u8 = 0;
pub const APART: u8 = 1;

// The shape of a pickled call, bits.
/// The tuple begins with the function.
pub const HAS_FUNCTION: u8 = 1;
/// The tuple ends with the names of the last arguments.
pub const HAS_NAMES: u8 = 2;
