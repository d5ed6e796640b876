//! Distance kernels over slices, chosen once per process, and the aligned memory they read.
