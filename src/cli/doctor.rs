//! `countersign doctor`: does it work from where the service runs, and what has to be pasted where.

mod liveness;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::output::{aside, line, runtime};
use super::{Exit, Format, serve};
use crate::clock::SystemClock;
use crate::config::{self, Configuration};
use crate::entropy::SystemEntropy;
use crate::identity::TrustDomain;
use crate::trust::{IssuerKeys, SourceKind, SourceSettings, SourceStatus, SpiffeKeys, Trust};
use crate::wire::TlsSettings;

/// How long sources are waited for: one whole attempt.
const PATIENCE: Duration = Duration::from_secs(12);

/// A clock that differs by more than this makes fresh tokens look as if they came from the future.
const MOST_SKEW: i64 = 20;

/// Check from this machine what the service needs, and print what to paste.
///
/// Reads the configuration, asks each source for its keys as the service would (the same code, a folder of its own), compares clocks,
/// and looks at our own files. Changes nothing. Run it where the service runs: what counts is what can be reached from there.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// The configuration file
    #[arg(long)]
    config: PathBuf,
    /// How to print the result
    #[arg(short = 'o', long = "format", alias = "output", value_enum, default_value_t)]
    output: Format,
}

/// One thing that was looked at.
struct Finding {
    what: String,
    well: bool,
    text: String,
    paste: Option<String>,
}

impl Finding {
    fn well(what: &str, text: String) -> Self {
        Self { what: what.to_owned(), well: true, text, paste: None }
    }

    fn ill(what: &str, text: String, paste: Option<String>) -> Self {
        Self { what: what.to_owned(), well: false, text, paste }
    }
}

impl Doctor {
    pub(super) fn run(self) -> Exit {
        let configuration = match config::load(&self.config, &serve::environment()) {
            Ok(loaded) => loaded.configuration,
            Err(report) => {
                aside(report.render(super::output::colors()));
                aside(format!("\ncountersign doctor: the configuration is refused, {} problem(s)", report.problems()));
                return Exit::Problem;
            }
        };
        let status = match runtime() {
            Ok(runtime) => runtime.block_on(ask_sources(&configuration)),
            Err(error) => Err(error),
        };
        let (status, liveness) = match status {
            Ok(found) => found,
            Err(error) => {
                aside(format!("countersign doctor: {error:#}"));
                return Exit::Problem;
            }
        };
        let mut findings = own_files(&configuration);
        for settings in &configuration.sources {
            let found = status.iter().find(|status| status.name == settings.name);
            findings.extend(found.map(|status| of_source(settings, status, &configuration)).unwrap_or_default());
        }
        findings.extend(liveness);
        let well = findings.iter().all(|finding| finding.well);
        match self.output {
            Format::Json => {
                let findings: Vec<_> = findings
                    .iter()
                    .map(|one| json!({ "what": one.what, "well": one.well, "text": one.text, "paste": one.paste }))
                    .collect();
                line(json!({ "well": well, "findings": findings }).to_string());
            }
            Format::Text => tell(&findings, &configuration),
        }
        if well { Exit::Ok } else { Exit::Problem }
    }
}

/// The service's own engine, with a folder of its own.
async fn ask_sources(configuration: &Configuration) -> anyhow::Result<(Vec<SourceStatus>, Vec<Finding>)> {
    let folder = std::env::temp_dir().join(format!("countersign-doctor-{}", std::process::id()));
    let cancel = CancellationToken::new();
    let trust = Trust::new(folder.clone(), Arc::new(SystemClock), Arc::new(SystemEntropy), cancel.clone());
    let view = trust.apply(&configuration.authorities());
    let _ = tokio::time::timeout(PATIENCE, trust.first_attempts()).await;
    let (status, liveness) = (trust.status(), liveness::ask(&view).await);
    drop(view);
    cancel.cancel();
    trust.ended().await;
    let _ = std::fs::remove_dir_all(&folder);
    Ok((status, liveness))
}

fn own_files(configuration: &Configuration) -> Vec<Finding> {
    let mut findings = Vec::new();
    let readable = |what: &str, path: &Path| match std::fs::File::open(path) {
        Ok(_) => Finding::well(what, path.display().to_string()),
        Err(error) => Finding::ill(what, format!("{}: {error}", path.display()), None),
    };
    if let Some(TlsSettings::Files(tls)) = &configuration.listen.tls {
        findings.push(readable("certificate", &tls.certificate));
        findings.push(readable("private key", &tls.key));
    }
    let state = &configuration.state.directory;
    findings.push(match std::fs::metadata(state) {
        Ok(about) if about.is_dir() => Finding::well("state", state.display().to_string()),
        Ok(_) => Finding::ill("state", format!("{} is no folder", state.display()), None),
        Err(_) => Finding::well("state", format!("{} will be made at the first start", state.display())),
    });
    findings
}

fn of_source(settings: &SourceSettings, status: &SourceStatus, configuration: &Configuration) -> Vec<Finding> {
    let name = settings.name.as_str();
    let mut findings = Vec::new();
    match &status.last_error {
        Some(why) => findings.push(Finding::ill(name, why.clone(), cure(settings, why, &configuration.sources))),
        None if status.keys == 0 && status.confirmed_at.is_none() => {
            findings.push(Finding::ill(name, format!("no answer within {} s", PATIENCE.as_secs()), None));
        }
        None if status.keys == 0 => {
            let text = "it was reached and shows no usable key: everything by it is refused".to_owned();
            findings.push(Finding::ill(name, text, federation(settings)));
        }
        None => findings.push(Finding::well(name, format!("{} key(s) by {}", status.keys, origin(settings)))),
    }
    if let (Some(why), true) = (&status.authorities_error, status.last_error.is_none()) {
        findings.push(Finding::ill(name, format!("X.509 authorities: {why}"), None));
    } else if status.authorities > 0 {
        findings.push(Finding::well(name, format!("{} X.509 authorities", status.authorities)));
    }
    if status.skipped > 0 {
        findings.push(Finding::well(name, format!("{} key(s) of an unknown kind are passed over", status.skipped)));
    }
    for collision in &status.collisions {
        let text =
            format!("key {} is also a key of {}: only one of them can have it", collision.thumbprint, collision.holder);
        findings.push(Finding::ill(name, text, None));
    }
    if let Some(skew) = status.skew_seconds {
        findings.push(match skew.abs() <= MOST_SKEW {
            true => Finding::well(name, format!("its clock and ours agree within {} s", skew.abs() + 1)),
            false => Finding::ill(name, format!("its clock is {skew} s ahead of ours: one of the two is wrong"), None),
        });
    }
    if let Some(audiences) = &settings.audiences {
        let taken: Vec<&str> = audiences.iter().map(String::as_str).collect();
        let text = format!("its tokens are made for {} and not for {}", taken.join(" or "), configuration.issuer);
        findings.push(Finding::well(name, text));
    }
    findings
}

fn origin(settings: &SourceSettings) -> String {
    match &settings.kind {
        SourceKind::Spiffe { keys: SpiffeKeys::WorkloadApi(endpoint), .. } => format!("the Workload API at {endpoint}"),
        SourceKind::Spiffe { keys: SpiffeKeys::BundleFile(file), .. } => format!("the bundle {}", file.display()),
        SourceKind::Spiffe { keys: SpiffeKeys::BundleEndpoint { url, .. }, .. } => url.to_string(),
        SourceKind::Kubernetes { keys, .. } | SourceKind::Oidc { keys, .. } | SourceKind::People { keys, .. } => {
            match keys {
                IssuerKeys::File(file) => format!("the file {}", file.display()),
                IssuerKeys::Push { by, .. } => format!("pushes by {} in {}", by.name, by.namespace),
                IssuerKeys::Url(endpoint) | IssuerKeys::Discovery(endpoint) | IssuerKeys::ApiServer(endpoint) => {
                    endpoint.url.to_string()
                }
            }
        }
    }
}

/// What to paste where, for the failures that everybody meets once.
fn cure(settings: &SourceSettings, why: &str, sources: &[SourceSettings]) -> Option<String> {
    if why.contains("PERMISSION_DENIED") || why.contains("No identity issued") {
        return registration(settings, sources);
    }
    if why.contains("anonymous discovery is off") {
        return Some(
            "kubectl create clusterrolebinding countersign-discovery --clusterrole=system:service-account-issuer-discovery \\\n  \
             --serviceaccount=countersign:countersign      # and give the source that account's token: `token: /path`"
                .to_owned(),
        );
    }
    if why.contains("our token's account may not read this") {
        return Some(
            "kubectl create clusterrolebinding countersign-discovery --clusterrole=system:service-account-issuer-discovery \\\n  \
             --serviceaccount=countersign:countersign"
                .to_owned(),
        );
    }
    None
}

/// The trust domains that have their keys from the same agent, in the order of the configuration.
fn of_one_agent<'a>(settings: &SourceSettings, sources: &'a [SourceSettings]) -> Vec<&'a TrustDomain> {
    let SourceKind::Spiffe { keys: SpiffeKeys::WorkloadApi(ours), .. } = &settings.kind else { return Vec::new() };
    let same = |source: &'a SourceSettings| match &source.kind {
        SourceKind::Spiffe { trust_domain, keys: SpiffeKeys::WorkloadApi(endpoint), .. } if endpoint == ours => {
            Some(trust_domain)
        }
        _ => None,
    };
    sources.iter().filter_map(same).collect()
}

/// One entry for one agent: its own trust domain is taken to be the first that names it, the others come by federation.
fn registration(settings: &SourceSettings, sources: &[SourceSettings]) -> Option<String> {
    let SourceKind::Spiffe { trust_domain, .. } = &settings.kind else { return None };
    let domains = of_one_agent(settings, sources);
    let (own, others) = domains.split_first()?;
    if *own != trust_domain {
        return None;
    }
    let federates: String = others.iter().map(|other| format!(" -federatesWith spiffe://{other}")).collect();
    Some(format!(
        "spire-server entry create -spiffeID spiffe://{own}/countersign -parentID <the agent's ID>{federates} \\\n  -selector unix:user:countersign      # or k8s:ns:countersign -selector k8s:sa:countersign"
    ))
}

/// An agent that answers and does not name the trust domain.
fn federation(settings: &SourceSettings) -> Option<String> {
    let SourceKind::Spiffe { trust_domain, keys: SpiffeKeys::WorkloadApi(_), .. } = &settings.kind else { return None };
    Some(format!(
        "-federatesWith spiffe://{trust_domain}      # into countersign's own registration entry, once the agent's server has that bundle"
    ))
}

fn tell(findings: &[Finding], configuration: &Configuration) {
    for finding in findings {
        line(format!("{} {:<14} {}", if finding.well { "✓" } else { "✗" }, finding.what, finding.text));
        if let Some(paste) = &finding.paste {
            line(format!("  {:<14} paste: {}", "", paste.replace('\n', &format!("\n  {:<21}", ""))));
        }
    }
    let kubernetes = configuration.sources.iter().any(|source| matches!(source.kind, SourceKind::Kubernetes { .. }));
    let oidc = configuration.sources.iter().any(|source| matches!(source.kind, SourceKind::Oidc { .. }));
    let spiffe = configuration.sources.iter().any(|source| matches!(source.kind, SourceKind::Spiffe { .. }));
    line("\nWhat callers need");
    if kubernetes {
        line(format!(
            "\n  a pod, in its volumes:\n
    - name: countersign
      projected:
        sources:
          - serviceAccountToken: {{ path: token, audience: \"{}\", expirationSeconds: 3600 }}",
            configuration.issuer
        ));
    }
    if oidc {
        line(format!("\n  a job of another platform: its ID token with the audience {}", configuration.issuer));
    }
    if spiffe {
        line(format!("\n  a SPIFFE workload: a JWT-SVID with the audience {} (FetchJWTSVID)", configuration.issuer));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::clock::Lifetime;
    use crate::identity::SourceName;

    fn source(name: &str, keys: SpiffeKeys) -> SourceSettings {
        SourceSettings {
            name: SourceName::parse(name).unwrap(),
            groups: BTreeSet::new(),
            kind: SourceKind::Spiffe {
                trust_domain: TrustDomain::parse(&format!("{name}.example")).unwrap(),
                keys,
                paths: Vec::new(),
            },
            audiences: None,
            max_age: Lifetime::from_hours(24),
            max_life: Lifetime::from_hours(24),
            max_stale: Lifetime::from_hours(24),
            leeway: Lifetime::from_seconds(30),
            reuse: crate::trust::Reuse::Allowed,
            algorithms: BTreeSet::new(),
            identity: None,
            shares_identities_with: BTreeSet::new(),
        }
    }

    #[test]
    fn one_entry_is_printed_for_one_agent() {
        let agent = |path: &str| SpiffeKeys::WorkloadApi(format!("unix:/run/{path}.sock"));
        let sources = [
            source("prod", agent("a")),
            source("partner", agent("a")),
            source("lab", agent("b")),
            source("file", SpiffeKeys::BundleFile("bundle.json".into())),
        ];
        let printed = |number: usize| cure(&sources[number], "the agent says PERMISSION_DENIED", &sources);
        let prod = printed(0).unwrap();
        assert!(
            prod.starts_with(
                "spire-server entry create -spiffeID spiffe://prod.example/countersign -parentID <the agent's ID> \
                 -federatesWith spiffe://partner.example \\\n  -selector"
            ),
            "{prod}"
        );
        assert_eq!(printed(1), None, "a server makes no entry for another trust domain");
        let lab = printed(2).unwrap();
        assert!(lab.contains("spiffe://lab.example/countersign") && !lab.contains("-federatesWith"), "{lab}");
        assert_eq!(printed(3), None);
        assert!(federation(&sources[1]).unwrap().starts_with("-federatesWith spiffe://partner.example "));
        assert_eq!(federation(&sources[3]), None);
    }
}
