//! Whether clusters can be asked if a workload lives, with our own account and all the rights that takes.

use super::Finding;
use crate::trust::TrustView;

/// One finding for each source that is asked.
pub(super) async fn ask(view: &TrustView) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in view.sources() {
        let (name, Some(liveness)) = (&source.settings.name, source.liveness()) else { continue };
        findings.push(match liveness.probe(name).await {
            Ok(()) => {
                Finding::well(name.as_str(), "liveness: it reviews tokens and shows pods and accounts".to_owned())
            }
            Err(why) => Finding::ill(name.as_str(), format!("liveness: {why}"), paste(&why)),
        });
    }
    findings
}

fn paste(why: &str) -> Option<String> {
    why.contains("liveness.yaml").then(|| "kubectl apply -f deploy/kubernetes/liveness.yaml".to_owned())
}
