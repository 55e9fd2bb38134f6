//! Hands `cfg(Py_GIL_DISABLED)` and the `Py_3_x` flags of the target interpreter to this crate.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
