//! Lets the tests find the Python library they were linked with, and not another one of the same name.

fn main() {
    pyo3_build_config::add_libpython_rpath_link_args();
}
