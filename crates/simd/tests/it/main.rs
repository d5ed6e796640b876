//! Every level this CPU runs against the scalar oracle, and the memory the kernels read.

mod agree_with_scalar;
