//! Whether a token is good at this moment, as TokenReview says it: signature, issuer, time, audience, and the objects it is bound to.
//!
//! Never says that a token is good whose pod, account, secret or node is gone (K8S-17).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::signature;
use super::Core;
use super::objects::Kind;

/// A token that is good.
pub(super) struct Reviewed {
    pub(super) username: String,
    pub(super) uid: String,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<&'static str, Vec<String>>,
    pub(super) audiences: Vec<String>,
}

/// Why it is not.
pub(super) struct NotGood(pub(super) String);

impl NotGood {
    fn saying(why: &str) -> Self {
        Self(why.to_owned())
    }
}

/// `audiences` are those that the asker goes by; none means the API server's own.
pub(super) fn review(core: &Core, token: &str, audiences: &[String]) -> Result<Reviewed, NotGood> {
    let keys = core.state().keys.all();
    let claims = signature::open(token, &keys).ok_or_else(|| NotGood::saying("invalid signature"))?;
    let claim = |name: &str| claims.get(name).and_then(Value::as_str);
    if !claim("iss").is_some_and(|issuer| core.settings.issuers.iter().any(|known| known == issuer)) {
        return Err(NotGood::saying("unknown issuer"));
    }
    in_time(core, &claims)?;
    let audiences = common_audiences(core, &claims, audiences)?;
    let own = claims
        .get("kubernetes.io")
        .and_then(Value::as_object)
        .ok_or_else(|| NotGood::saying("missing kubernetes.io claim"))?;
    let namespace = own.get("namespace").and_then(Value::as_str).ok_or_else(|| NotGood::saying("missing namespace"))?;
    let (account, uid) =
        alive(core, own, Kind::ServiceAccount, namespace)?.ok_or_else(|| NotGood::saying("missing service account"))?;
    let username = format!("system:serviceaccount:{namespace}:{account}");
    if claim("sub") != Some(username.as_str()) {
        return Err(NotGood::saying("subject does not match the service account"));
    }
    let mut extra = BTreeMap::new();
    if let Some(id) = claim("jti") {
        extra.insert("authentication.kubernetes.io/credential-id", vec![format!("JTI={id}")]);
    }
    if let Some((name, uid)) = alive(core, own, Kind::Pod, namespace)? {
        extra.insert("authentication.kubernetes.io/pod-name", vec![name]);
        extra.insert("authentication.kubernetes.io/pod-uid", vec![uid]);
    }
    alive(core, own, Kind::Secret, namespace)?;
    if let Some((name, uid)) = alive(core, own, Kind::Node, "")? {
        extra.insert("authentication.kubernetes.io/node-name", vec![name]);
        extra.insert("authentication.kubernetes.io/node-uid", vec![uid]);
    }
    let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), "system:authenticated"];
    Ok(Reviewed { username, uid, groups: groups.map(str::to_owned).to_vec(), extra, audiences })
}

fn in_time(core: &Core, claims: &Map<String, Value>) -> Result<(), NotGood> {
    let now = core.surroundings.now().seconds();
    let moment = |name: &str| claims.get(name).and_then(Value::as_i64);
    if moment("exp").is_none_or(|end| now >= end) {
        return Err(NotGood::saying("service account token has expired"));
    }
    if moment("nbf").is_some_and(|start| now < start) {
        return Err(NotGood::saying("service account token is not valid yet"));
    }
    Ok(())
}

/// The audiences that the token and the asker share, at least one.
fn common_audiences(core: &Core, claims: &Map<String, Value>, asked: &[String]) -> Result<Vec<String>, NotGood> {
    let wanted = if asked.is_empty() { &core.settings.issuers } else { asked };
    let in_token = claims.get("aud").and_then(Value::as_array);
    let named =
        |audience: &&String| in_token.is_some_and(|values| values.iter().any(|value| value == audience.as_str()));
    let common: Vec<String> = wanted.iter().filter(named).cloned().collect();
    if common.is_empty() {
        let list = |names: &[&str]| names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" ");
        let own: Vec<&str> = in_token.into_iter().flatten().filter_map(Value::as_str).collect();
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let (own, wanted) = (list(&own), list(&wanted));
        return Err(NotGood(format!("token audiences [{own}] is invalid for the target audiences [{wanted}]")));
    }
    Ok(common)
}

/// Name and UID of the bound object of `kind`, if the token names one; an error if it is not the one that lives now.
fn alive(
    core: &Core,
    own: &Map<String, Value>,
    kind: Kind,
    namespace: &str,
) -> Result<Option<(String, String)>, NotGood> {
    let member = match kind {
        Kind::ServiceAccount => "serviceaccount",
        Kind::Pod => "pod",
        Kind::Secret => "secret",
        Kind::Node => "node",
    };
    let Some(reference) = own.get(member) else { return Ok(None) };
    let part =
        |name: &str| reference.get(name).and_then(Value::as_str).ok_or_else(|| NotGood::saying("incomplete reference"));
    let (name, uid) = (part("name")?, part("uid")?);
    let state = core.state();
    let object = state.objects.alive(kind, namespace, name, core.surroundings.now());
    if object.is_none_or(|object| object.uid != uid) {
        return Err(match kind {
            Kind::ServiceAccount => NotGood(format!("serviceaccounts \"{name}\" not found")),
            Kind::Pod | Kind::Secret | Kind::Node => NotGood::saying("service account token has been invalidated"),
        });
    }
    Ok(Some((name.to_owned(), uid.to_owned())))
}
