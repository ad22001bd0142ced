//! How decisions are recorded.

/// Settings of decision records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// One JSON line for each decision on standard output.
    pub stdout: bool,
    /// Nothing leaves before its record is durable.
    pub required: bool,
}
