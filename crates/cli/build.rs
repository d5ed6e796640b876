//! With Python inside, the binary is to find the library it was linked with, and not another one of the same name.

fn main() {
    #[cfg(feature = "python")]
    pyo3_build_config::add_libpython_rpath_link_args();
}
