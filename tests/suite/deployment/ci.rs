//! The samples for CI systems: taken without a remark, and a job's token is exchanged by their rules.

use std::sync::Arc;

use countersign::clock::SystemClock;
use countersign::config::{Environment, load};
use countersign::world::issuer::PretendIssuer;
use countersign::world::{ScratchDirectory, Surroundings};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{root, text};
use crate::stage::{Answer, JWT_BEARER, Stage, server_config};

/// A platform: its sample, its issuer, what a job's token says besides, and what is asked for.
struct Sample {
    file: &'static str,
    issuer: &'static str,
    sub: &'static str,
    job: fn() -> Value,
    identity: &'static str,
    resource: &'static str,
}

const SAMPLES: [Sample; 4] = [
    Sample {
        file: "ci/github.yaml",
        issuer: "https://token.actions.githubusercontent.com",
        sub: "repo:org/shop:ref:refs/heads/main",
        job: github,
        identity: "spiffe://id.example/ci/github/1001/4711",
        resource: "registry",
    },
    Sample {
        file: "ci/github.yaml",
        issuer: "https://token.actions.githubusercontent.com",
        sub: "repo:org/shop:environment:production",
        job: github_environment,
        identity: "spiffe://id.example/ci/github/1001/4711",
        resource: "production",
    },
    Sample {
        file: "ci/gitlab.yaml",
        issuer: "https://gitlab.com",
        sub: "project_path:org/shop:ref_type:branch:ref:main",
        job: gitlab,
        identity: "spiffe://id.example/ci/gitlab/72/22",
        resource: "registry",
    },
    Sample {
        file: "ci/buildkite.yaml",
        issuer: "https://agent.buildkite.com",
        sub: "organization:org:pipeline:shop:ref:refs/heads/main:commit:9f3182061f1e2cca4702c368cbc039b7dc9d4485:step:push",
        job: buildkite,
        identity: "spiffe://id.example/ci/buildkite/0184990a-477b-4fa8-9968-496074483cee/0184990a-4782-42b5-afc1-16715b10b8ff",
        resource: "registry",
    },
];

/// As the platform writes it for a push.
fn github() -> Value {
    json!({
        "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true", "sha": "9f3182061f1e2cca4702c368cbc039b7dc9d4485",
        "repository": "org/shop", "repository_id": "4711", "repository_owner": "org", "repository_owner_id": "1001",
        "repository_visibility": "private", "run_id": "1", "run_number": "10", "run_attempt": "1", "actor": "ada", "actor_id": "12",
        "workflow": "release", "workflow_ref": "org/shop/.github/workflows/release.yml@refs/heads/main", "head_ref": "", "base_ref": "",
        "event_name": "push", "job_workflow_ref": "org/shop/.github/workflows/release.yml@refs/heads/main",
        "runner_environment": "github-hosted", "enterprise": "org", "enterprise_id": "5",
    })
}

fn github_environment() -> Value {
    let mut job = github();
    job["environment"] = "production".into();
    job
}

fn gitlab() -> Value {
    json!({
        "namespace_id": "72", "namespace_path": "org", "project_id": "22", "project_path": "org/shop", "user_id": "1",
        "user_login": "ada", "user_email": "ada@example.com", "user_access_level": "developer", "user_identities": [],
        "pipeline_id": "574", "pipeline_source": "push", "job_id": "302", "ref": "main", "ref_type": "branch",
        "ref_path": "refs/heads/main", "ref_protected": "true", "runner_id": 1, "runner_environment": "self-hosted",
        "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc", "project_visibility": "private",
    })
}

fn buildkite() -> Value {
    json!({
        "organization_slug": "org", "pipeline_slug": "shop", "build_number": 5, "build_branch": "main", "build_tag": null,
        "build_commit": "9f3182061f1e2cca4702c368cbc039b7dc9d4485", "step_key": "push", "job_id": "0184990a-477b-4fa8-9968-496074483c1d",
        "agent_id": "0184990a-477b-4fa8-9968-4960744830f1", "build_source": "webhook", "runner_environment": "self-hosted",
        "organization_id": "0184990a-477b-4fa8-9968-496074483cee", "pipeline_id": "0184990a-4782-42b5-afc1-16715b10b8ff",
    })
}

#[test]
fn samples_for_ci_systems_are_taken_without_a_remark() {
    for sample in SAMPLES {
        let loaded = load(&root().join("deploy").join(sample.file), &Environment::default());
        let loaded = loaded.unwrap_or_else(|report| panic!("{}", report.render(false)));
        assert!(loaded.lints.findings().is_empty(), "{}", loaded.lints.render(false));
        assert!(loaded.configuration.tests.len() >= 3, "{}", sample.file);
    }
}

/// The product with a sample's source, resources, rules and tests; the platform's address alone is the pretend one.
async fn stage(sample: &Sample, platform: &PretendIssuer, ca: &std::path::Path) -> Stage {
    let sample_text = text(sample.file);
    let (_, trust) = sample_text.split_once("\ntrust:\n").unwrap();
    let real = format!("{{ discovery: {} }}", sample.issuer);
    assert!(trust.contains(&real), "{}", sample.file);
    let pretend = format!("{{ discovery: \"{}\", ca: \"{}\" }}", platform.url(), ca.display());
    Stage::with(|_, issuer| format!("{}{}", server_config(issuer), trust.replace(&real, &pretend))).await
}

async fn exchange(stage: &Stage, sample: &Sample, platform: &PretendIssuer, job: Value) -> Answer {
    let token = platform.forge(sample.sub, &stage.issuer, job).sign().unwrap().token();
    stage
        .token(&[("client_assertion_type", JWT_BEARER), ("client_assertion", &token), ("audience", sample.resource)])
        .await
}

/// A job's token gives a token under its lasting identity, and each claim of the rule counts.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_exchange_their_tokens_by_the_samples() {
    for sample in SAMPLES {
        let folder = ScratchDirectory::new().unwrap();
        let stop = CancellationToken::new();
        let surroundings = Surroundings::with_clock(Arc::new(SystemClock));
        let platform = PretendIssuer::start("platform", sample.issuer, &surroundings, &stop).await.unwrap();
        let ca = folder.path().join("platform-ca.crt");
        std::fs::write(&ca, platform.ca_pem()).unwrap();
        let stage = stage(&sample, &platform, &ca).await;
        let answer = exchange(&stage, &sample, &platform, (sample.job)()).await;
        assert_eq!((answer.status, &answer.claims()["sub"]), (200, &json!(sample.identity)), "{}", answer.text);
        assert_eq!(answer.claims()["kind"], "oidc");
        let compared = compared(&stage, &sample);
        assert!(compared.len() >= 3, "{}: {compared:?}", sample.file);
        for claim in compared {
            let mut job = (sample.job)();
            job[&claim] = "other".into();
            let answer = exchange(&stage, &sample, &platform, job).await;
            assert_eq!((answer.status, answer.error()), (400, "unauthorized_client"), "{claim}: {}", answer.text);
        }
        stop.cancel();
    }
}

/// The claims that the rule for the sample's resource compares.
fn compared(stage: &Stage, sample: &Sample) -> Vec<String> {
    let file = stage.directory.path().join("countersign.yaml");
    let configuration = load(&file, &Environment::default()).unwrap().configuration;
    let rule = configuration.rules.iter().find(|rule| rule.resource == sample.resource).unwrap();
    rule.from.attributes.keys().map(|name| name.as_str().to_owned()).collect()
}
