//! What a door can ask the core, the same over HTTP and over gRPC.
//!
//! Knows no form and no message.

use crate::exchange::{Decision, Exchange, ExchangeRequest, IntrospectRequest, Introspected, Issued, RevokeRequest};
use crate::reason::Refusal;

/// One of the things that the core is asked.
pub(super) trait Question: Sized + Send {
    /// What it says.
    type Outcome: Send;

    /// What the record says before anything is read.
    fn begin(_decision: &mut Decision) {}

    /// Asks. The decision has been told of every refusal.
    fn ask(
        self,
        exchange: &Exchange,
        decision: &mut Decision,
    ) -> impl Future<Output = Result<Self::Outcome, Refusal>> + Send;
}

impl Question for ExchangeRequest {
    type Outcome = Issued;

    async fn ask(self, exchange: &Exchange, decision: &mut Decision) -> Result<Issued, Refusal> {
        exchange.run(self, decision).await
    }
}

impl Question for IntrospectRequest {
    type Outcome = Introspected;

    async fn ask(self, exchange: &Exchange, decision: &mut Decision) -> Result<Introspected, Refusal> {
        exchange.introspect(self, decision).await
    }
}

impl Question for RevokeRequest {
    type Outcome = ();

    fn begin(decision: &mut Decision) {
        decision.of_revocation();
    }

    async fn ask(self, exchange: &Exchange, decision: &mut Decision) -> Result<(), Refusal> {
        exchange.revoke(self, decision).await
    }
}
