//! Kubernetes service-account tokens (`standards.md` part 30).
//!
//! Projected tokens only. Offline: whether the pod and the account still exist is asked afterwards, if at all (K8S-17).

use super::find_key::Opened;
use super::{Evidence, Verifier, audience, facts, refuse_claims, validity};
use crate::clock::Timestamp;
use crate::identity::{Assurance, AttributeName, Attributes, CredentialKind, WorkloadIdentity};
use crate::jose::{Object, Value, VerifiedClaims, numeric_date};
use crate::reason::{Refusal, Unaccepted, Unverified, quoted};
use crate::trust::SourceSettings;

/// The issuer of tokens that were made before tokens were bound to anything (K8S-06).
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// Judges the verified claims.
pub(super) fn accept(
    verifier: &Verifier<'_>,
    opened: &Opened,
    evidence: &Evidence,
) -> Result<WorkloadIdentity, Refusal> {
    let (source, claims) = (&opened.source.settings, &opened.claims);
    refuse_legacy(claims)?;
    let platform = claims.optional_object("kubernetes.io").map_err(refuse_claims)?;
    let platform = platform.ok_or_else(|| subject_invalid("there is no claim kubernetes.io"))?;
    let account = Account::read(claims, platform)?;
    audience::check(claims, source, verifier)?;
    let window = validity::check(claims, warn_after(platform)?, &opened.source, verifier.at)?;
    let attributes = account.attributes(source, platform)?;
    let template = source
        .identity_template(verifier.identity_domain)
        .ok_or_else(|| Refusal::internal("a cluster has no identity template"))?;
    let id = template.render(&attributes).map_err(|why| subject_invalid(&why.to_string()))?;
    Ok(WorkloadIdentity {
        id,
        source: source.name.clone(),
        kind: CredentialKind::Kubernetes,
        attributes,
        credential: facts(claims, evidence, &window)?,
        assurance: Assurance::Bearer,
    })
}

/// Secret tokens have no end, another issuer, and flat claims (K8S-06).
fn refuse_legacy(claims: &VerifiedClaims) -> Result<(), Refusal> {
    let flat = claims.has("kubernetes.io/serviceaccount/namespace")
        || claims.has("kubernetes.io/serviceaccount/service-account.name");
    let legacy_issuer = claims.optional_text("iss").is_ok_and(|issuer| issuer == Some(LEGACY_ISSUER));
    if flat || legacy_issuer || !claims.has("exp") {
        return Err(Refusal::unaccepted(
            Unaccepted::TokenLegacy,
            "This is a legacy service-account token without an end. Use a projected serviceAccountToken volume.",
            "the token comes from a Secret; TokenRequest or a projected volume gives bound ones",
        ));
    }
    Ok(())
}

/// A stretched token says when it should have been renewed (K8S-07): that is its end.
fn warn_after(platform: &Object) -> Result<Option<Timestamp>, Refusal> {
    match platform.get("warnafter") {
        None => Ok(None),
        Some(Value::Number(number)) => {
            let time = numeric_date(number).ok_or(crate::jose::ClaimFault::Type("kubernetes.io.warnafter"));
            time.map(Some).map_err(refuse_claims)
        }
        Some(_) => Err(refuse_claims(crate::jose::ClaimFault::Type("kubernetes.io.warnafter"))),
    }
}

/// The service account, as `sub` and the platform's claims both say it (K8S-08).
struct Account<'a> {
    namespace: &'a str,
    name: &'a str,
    uid: Option<&'a str>,
}

impl<'a> Account<'a> {
    fn read(claims: &'a VerifiedClaims, platform: &'a Object) -> Result<Self, Refusal> {
        let sub = claims.text("sub").map_err(refuse_claims)?;
        let parts: Vec<&str> = sub.split(':').collect();
        let ["system", "serviceaccount", namespace, name] = parts.as_slice() else {
            return Err(subject_invalid(&format!(
                "sub {} is not system:serviceaccount:<namespace>:<name>",
                quoted(sub)
            )));
        };
        if !is_dns_label(namespace) || !is_dns_subdomain(name) {
            return Err(subject_invalid(&format!("sub {} has names that Kubernetes cannot give", quoted(sub))));
        }
        let account = platform.object("serviceaccount");
        let agree = platform.text("namespace") == Some(namespace)
            && account.and_then(|account| account.text("name")) == Some(name);
        if !agree {
            return Err(subject_invalid(&format!(
                "sub {} and the claim kubernetes.io contradict each other",
                quoted(sub)
            )));
        }
        Ok(Self { namespace, name, uid: account.and_then(|account| account.text("uid")) })
    }

    /// Only what the token says; a missing field is missing (K8S-11).
    fn attributes(&self, source: &SourceSettings, platform: &Object) -> Result<Attributes, Refusal> {
        let named = |kind: &str, member: &str| platform.object(kind).and_then(|object| object.text(member));
        let found = [
            ("cluster", Some(source.name.as_str())),
            ("namespace", Some(self.namespace)),
            ("service_account", Some(self.name)),
            ("service_account_uid", self.uid),
            ("pod", named("pod", "name")),
            ("pod_uid", named("pod", "uid")),
            ("node", named("node", "name")),
        ];
        let mut attributes = Attributes::default();
        for (name, value) in found {
            let Some(value) = value else { continue };
            if value.is_empty() || value.len() > 253 || value.chars().any(char::is_control) {
                return Err(subject_invalid(&format!("{name} {} is no name that Kubernetes can give", quoted(value))));
            }
            let name = AttributeName::parse(name).map_err(|why| Refusal::internal(why.to_string()))?;
            attributes.insert(name, value);
        }
        Ok(attributes)
    }
}

/// RFC 1123 label, as namespaces are.
fn is_dns_label(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && edge(text.as_bytes().first())
        && edge(text.as_bytes().last())
}

/// RFC 1123 subdomain, as service accounts are.
fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

fn subject_invalid(note: &str) -> Refusal {
    Refusal::unverified(Unverified::SubjectInvalid, note)
}
