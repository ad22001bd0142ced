//! Where telemetry goes besides `/metrics`.

/// Settings of telemetry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// The URL of an OTLP collector (gRPC) for traces and logs: `http` or `https`, host and port. `None`: they go nowhere.
    pub otlp: Option<String>,
}
