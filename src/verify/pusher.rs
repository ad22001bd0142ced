//! A token with which a workload of a cluster pushes that cluster's keys: of that source alone, for one audience alone.
//!
//! Never tries another source's keys. Whether this workload may push, and whether the token was used before, is not asked here.

use std::slice;
use std::sync::Arc;

use super::{Declared, Evidence, VerifiedIdentity, Verifier, federated, find_key, shown};
use crate::credential::CompactJws;
use crate::reason::{Refusal, Unverified, quoted};
use crate::trust::{Reuse, TrustedSource};

impl Verifier<'_> {
    /// Verifies a token of `source` whose sole audience is `audience` (design §7). It may be used once, whatever the source
    /// says of its other credentials.
    ///
    /// # Errors
    /// The first check that does not hold.
    pub async fn verify_pusher(
        &self,
        source: &TrustedSource,
        audience: String,
        jws: &CompactJws,
        evidence: &mut Evidence,
    ) -> Result<VerifiedIdentity, Refusal> {
        evidence.kind = Some(Declared::Federated.kind());
        let (header, claims) = shown(jws, Declared::Federated.types(), evidence)?;
        let issuer = claims.unverified_issuer().unwrap_or_default();
        if !source.settings.kind.issuers().is_some_and(|issuers| issuers.contains(issuer)) {
            let note = format!("issuer {} is none of {}'s", quoted(issuer), source.settings.name);
            return Err(Refusal::unverified(Unverified::SourceUnknown, note));
        }
        let source = source.addressed_to(audience);
        let opened =
            find_key::open_with(slice::from_ref::<Arc<_>>(&source), jws, &header, claims, self.at, evidence).await?;
        let identity = federated::accept(self, &opened, evidence)?;
        // Whether its pod still lives is not asked: a cluster whose keys are pushed is one that nobody reaches.
        Ok(VerifiedIdentity { identity, reuse: Reuse::Once, rests_on: None })
    }
}
