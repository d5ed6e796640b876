//! What an error means to the caller, the same for every transport.

/// The few kinds that decide a status code and whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is wrong and will be wrong again: it has to change.
    InvalidInput,
    /// A number in the request is above a limit of this node.
    TooLarge,
    /// The thing named does not exist.
    NotFound,
    /// The thing to be made exists.
    AlreadyExists,
    /// Somebody else has taken over what the request writes to: its sender must stop.
    Fenced,
    /// The request is right, but this build or this state does not offer it.
    Unsupported,
    /// The disk has no room. Reads go on; writes work again once there is space.
    OutOfSpace,
    /// More is asked at once than this node takes; try again later.
    Overloaded,
    /// The part that answers is closed, poisoned by an earlier fault, or being replaced.
    Unavailable,
    /// Bytes on disk are not what was written.
    Corrupt,
    /// A defect of DVSE.
    Internal,
}

impl ErrorKind {
    /// The stable name used in answers (`code`) and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::InvalidInput => "invalid_input",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::NotFound => "not_found",
            ErrorKind::AlreadyExists => "already_exists",
            ErrorKind::Fenced => "fenced",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::OutOfSpace => "out_of_space",
            ErrorKind::Overloaded => "overloaded",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Internal => "internal",
        }
    }
}

/// Implemented by every error that can reach a user.
pub trait Classify: std::error::Error {
    /// Returns what the error means.
    fn kind(&self) -> ErrorKind;

    /// Returns what the user can do about it, as a full sentence, where there is something.
    fn help(&self) -> Option<String> {
        None
    }
}
