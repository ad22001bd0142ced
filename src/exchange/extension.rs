//! What an operator ordered about the keys of a source, as a decision record.
//!
//! Decides nothing: the trust engine has, and the order is on the disk by then.

use std::net::{IpAddr, Ipv4Addr};

use super::record::ExtensionRecord;
use super::{Exchange, Transport};

impl Exchange {
    /// Records that the keys of a source serve longer now, or no longer. Open streams ask again.
    pub fn record_extension(&self, order: ExtensionRecord) {
        tracing::warn!(?order, "an operator changes how long the keys of a source serve");
        let mut decision = self.open(Transport::Operator, IpAddr::V4(Ipv4Addr::LOCALHOST));
        decision.uses(self.generation().id());
        decision.extended(order);
        drop(decision);
        self.something_changed();
    }
}
