//! The claim `rests_on`: the objects of clusters without which a token of ours does not count (K8S-17).
//!
//! It is there only where a cluster is asked whether its workloads live. Introspection asks for these objects; no platform's token is kept.

use serde_json::json;

use super::LONGEST_CHAIN;
use crate::identity::{Instance, Object, SourceName};
use crate::jose::{self, ClaimFault, Value};

/// The name of the claim.
pub const RESTS_ON: &str = "rests_on";

/// The most objects that one token rests on: the subject's, and those of everybody who acts.
pub const MOST: usize = LONGEST_CHAIN + 1;

/// The claim of these objects.
pub fn written(instances: &[Instance]) -> serde_json::Value {
    instances
        .iter()
        .map(|one| {
            let mut written = json!({
                "source": one.source.as_str(),
                "namespace": one.namespace,
                "service_account": one.service_account.name,
                "service_account_uid": one.service_account.uid,
            });
            if let (Some(pod), Some(members)) = (&one.pod, written.as_object_mut()) {
                members.extend([("pod".to_owned(), json!(pod.name)), ("pod_uid".to_owned(), json!(pod.uid))]);
            }
            written
        })
        .collect()
}

/// Reads the claim: at most [`MOST`].
///
/// # Errors
/// [`ClaimFault::Type`] when it is not what [`written`] writes.
pub fn read(claim: Option<&Value>) -> Result<Vec<Instance>, ClaimFault> {
    let instances = match claim {
        None => return Ok(Vec::new()),
        Some(Value::Array(instances)) if instances.len() <= MOST => instances,
        Some(_) => return Err(ClaimFault::Type(RESTS_ON)),
    };
    instances.iter().map(|one| read_one(one).ok_or(ClaimFault::Type(RESTS_ON))).collect()
}

fn read_one(one: &Value) -> Option<Instance> {
    let Value::Object(one) = one else { return None };
    Some(Instance {
        source: SourceName::parse(one.text("source")?).ok()?,
        namespace: one.text("namespace")?.to_owned(),
        service_account: Object::of(one.text("service_account"), one.text("service_account_uid"))?,
        pod: pod(one)?,
    })
}

/// Both of its members, or neither.
fn pod(one: &jose::Object) -> Option<Option<Object>> {
    match one.has("pod") || one.has("pod_uid") {
        false => Some(None),
        true => Object::of(one.text("pod"), one.text("pod_uid")).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances() -> Vec<Instance> {
        let object = |name: &str| Object { name: name.to_owned(), uid: format!("{name}-uid") };
        let source = SourceName::parse("eu1").unwrap();
        let pod = Some(object("api-0"));
        let one = Instance { source, namespace: "shop".to_owned(), service_account: object("api"), pod };
        vec![one.clone(), Instance { pod: None, ..one }]
    }

    fn reread(claim: &serde_json::Value) -> Result<Vec<Instance>, ClaimFault> {
        let whole = json!({ "rests_on": claim }).to_string();
        read(jose::parse_object(whole.as_bytes()).unwrap().get(RESTS_ON))
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let good = written(&instances());
        assert_eq!(reread(&good), Ok(instances()));
        assert_eq!(read(None), Ok(Vec::new()));
        for (pointer, value) in [
            ("/0/source", json!("no name!")),
            ("/0/pod_uid", json!(7)),
            ("/1/namespace", json!(null)),
            ("/0", json!("x")),
        ] {
            let mut spoiled = good.clone();
            *spoiled.pointer_mut(pointer).unwrap() = value;
            assert_eq!(reread(&spoiled), Err(ClaimFault::Type(RESTS_ON)), "{pointer}");
        }
        let many: Vec<_> = (0..=MOST).map(|_| good.pointer("/1").unwrap().clone()).collect();
        assert_eq!(reread(&json!(many)), Err(ClaimFault::Type(RESTS_ON)));
        assert_eq!(reread(&json!({})), Err(ClaimFault::Type(RESTS_ON)));
    }
}
