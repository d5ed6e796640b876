//! Why a vector file cannot be read.

use std::io;
use std::path::PathBuf;

use super::Element;

/// What went wrong, in which file, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ReadVectorsError {
    /// The file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },

    /// The file cannot be read, or its gzip stream is broken.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system or the decompressor says.
        source: io::Error,
    },

    /// A gzipped file is too large to hold in memory.
    #[error("{} unpacks to more than {limit} bytes: unpack it with gunzip first", path.display())]
    UnpacksTooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is unpacked into memory.
        limit: u64,
    },

    /// Neither the name nor the first bytes say what the file is.
    #[error(
        "{} is in no known format: expected .npy, .fvecs, .ivecs, .bvecs or idx (MNIST), each optionally with .gz",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },

    /// The header cannot be used.
    #[error("{}: {problem}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: HeaderError,
    },

    /// The header promises another amount of data than there is.
    #[error(
        "{}: {rows} rows of {dim} {element} need {expected} bytes from byte {data_at} on, but there are {got}: \
         the file is cut off or its header is wrong",
        path.display()
    )]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Rows that the header claims.
        rows: u64,
        /// Numbers in each row.
        dim: u64,
        /// Their type.
        element: Element,
        /// Where the data starts.
        data_at: u64,
        /// Bytes that these take.
        expected: u64,
        /// Bytes that are there.
        got: u64,
    },

    /// A file of records is no whole number of records long.
    #[error(
        "{}: {got} bytes are no whole number of records of {record} bytes (dim {dim} as in the first record): \
         the file is cut off or in another format",
        path.display()
    )]
    CutRecord {
        /// The file.
        path: PathBuf,
        /// Length of the file, unpacked.
        got: u64,
        /// Length of one record.
        record: u64,
        /// Numbers in a record.
        dim: u64,
    },

    /// A record has another number of dimensions than the first one.
    #[error("{}: row {row} at byte {offset} has dim {got}, expected {expected} as in row 0", path.display())]
    RowDim {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// Where it starts.
        offset: u64,
        /// Its number of dimensions.
        got: i32,
        /// That of the first row.
        expected: usize,
    },

    /// A number is NaN, infinite, or too large for `f32`.
    #[error("{}: row {row}, column {column} is {value}: vectors must be finite float32 numbers", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// Position in the row.
        column: usize,
        /// The number as `f32`.
        value: f32,
    },

    /// Rows were asked for that the file does not have.
    #[error("{}: rows {start}..{end} were asked for, but there are {rows}", path.display())]
    NoSuchRows {
        /// The file.
        path: PathBuf,
        /// First row asked for.
        start: usize,
        /// Row after the last one asked for.
        end: usize,
        /// Rows in the file.
        rows: usize,
    },

    /// Ground truth must be whole numbers.
    #[error("{} holds {element}, but row numbers must be integers: save it as int32 or int64", path.display())]
    NotIntegers {
        /// The file.
        path: PathBuf,
        /// What it holds.
        element: Element,
    },

    /// A whole number cannot be a row number.
    #[error("{}: row {row}, column {column} is {value}, expected a row number from 0 to 4294967295", path.display())]
    NotARowNumber {
        /// The file.
        path: PathBuf,
        /// The row.
        row: usize,
        /// Position in the row.
        column: usize,
        /// The number found.
        value: i128,
    },
}

/// What is wrong with a header, independent of where the bytes come from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The bytes end inside the header.
    #[error("the header needs {expected} bytes, but there are {got}")]
    Short {
        /// Bytes needed.
        expected: u64,
        /// Bytes there.
        got: u64,
    },

    /// The bytes do not start as the format does.
    #[error("the file does not start with the magic bytes of {format}")]
    Magic {
        /// Name of the format.
        format: &'static str,
    },

    /// A version of the npy format that is not known.
    #[error("npy format version {major}.{minor} is unknown, expected 1.0, 2.0 or 3.0")]
    NpyVersion {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
    },

    /// The length of an npy header is beyond reason.
    #[error("the npy header claims {got} bytes, expected at most {limit}")]
    NpyHeaderLength {
        /// Length claimed.
        got: u64,
        /// The most that is read.
        limit: u64,
    },

    /// The text of an npy header is not the dictionary it should be.
    #[error("the npy header has {found} at byte {at}, expected {expected}")]
    NpySyntax {
        /// Offset in the file.
        at: usize,
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },

    /// A key of an npy header is missing.
    #[error("the npy header has no key '{key}'")]
    NpyMissingKey {
        /// The key.
        key: &'static str,
    },

    /// The number type is not one that vectors or row numbers come in.
    #[error(
        "the npy array has dtype {got}: save it with .astype('float32') or another plain float or integer type"
    )]
    NpyType {
        /// The type as it stands in the header.
        got: String,
    },

    /// The array is stored column by column.
    #[error("the npy array is in Fortran order: save numpy.ascontiguousarray(array) instead")]
    NpyFortranOrder,

    /// The type code of an idx file is unknown.
    #[error("the idx type code is {got:#04x}, expected 0x08, 0x09, 0x0b, 0x0c, 0x0d or 0x0e")]
    IdxType {
        /// The code.
        got: u8,
    },

    /// The data is not a matrix.
    #[error(
        "the array has {got} dimension(s), expected 2 to 32: (rows, dim), or rows of images, which are flattened"
    )]
    Dimensions {
        /// Number of dimensions.
        got: usize,
    },

    /// A vector would have no numbers, or more than can be counted.
    #[error("a row would hold {got} numbers, expected 1 to {limit}")]
    Dim {
        /// Numbers per row; `u64::MAX` for a product beyond that.
        got: u64,
        /// The most taken.
        limit: u64,
    },

    /// The first record of an fvecs, ivecs or bvecs file states an impossible length.
    #[error(
        "the first record claims {got} numbers, expected 1 to {limit}: is this an fvecs, ivecs or bvecs file?"
    )]
    RecordDim {
        /// The length claimed.
        got: i32,
        /// The most taken.
        limit: u64,
    },
}
