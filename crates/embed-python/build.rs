//! Lets the tests find the Python library they were linked with, and not another one of the same name, and the code ask whether it
//! is one without the global lock.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    pyo3_build_config::add_libpython_rpath_link_args();
}
