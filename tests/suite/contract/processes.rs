//! The command line as processes: what they print, where, and how they end.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use countersign::world::ScratchDirectory;
use serde_json::{Value, json};

use super::members;
use crate::evidence;

/// Longer than any signature-free text that is printed, shorter than an ES256 signature in base64url.
const SIGNATURE: usize = 80;

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs the binary in a directory until it ends.
fn run(directory: &Path, arguments: &[&str]) -> Ended {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ended = Ended { code: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) };
    evidence::keep("processes.txt", &format!("{arguments:?}\n{}{}", ended.stdout, ended.stderr));
    ended
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether text holds something as long as a signature.
fn has_signature(text: &str) -> bool {
    let is_base64url = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.as_bytes().split(|byte| !is_base64url(byte)).any(|run| run.len() >= SIGNATURE)
}

#[test]
fn check_takes_the_published_configuration() {
    let text = run(package(), &["check", "deploy/countersign.yaml"]);
    assert_eq!(text.code, 0, "{}{}", text.stdout, text.stderr);
    let last = text.stdout.lines().next_back();
    assert_eq!(last, Some("deploy/countersign.yaml: ok, 2 sources, 2 resources, 2 rules, 2 tests"));
    let json = run(package(), &["check", "deploy/countersign.yaml", "-o", "json"]);
    let remarks: Vec<Value> = serde_json::from_str(&json.stdout).unwrap();
    // The bundle and the key set are the reader's to bring.
    let told: Vec<_> = remarks.iter().map(|remark| (&remark["severity"], &remark["path"])).collect();
    let (lint, bundle, keys) =
        (json!("lint"), json!("trust[0].spiffe.bundle.file"), json!("trust[1].kubernetes.keys.file"));
    assert_eq!((json.code, told), (0, vec![(&lint, &bundle), (&lint, &keys)]));
    let schema = run(package(), &["check", "--schema"]);
    let schema: Value = serde_json::from_str(&schema.stdout).unwrap();
    assert_eq!(schema["title"], "countersign configuration");
}

#[test]
fn check_says_where_and_what_and_how() {
    let scratch = ScratchDirectory::new().unwrap();
    let good = std::fs::read_to_string(package().join("deploy/countersign.yaml")).unwrap();
    let bad = good
        .replace("    owner: team-commerce\n", "    ownr: team-commerce\n")
        .replace("lifetime: 5m", "lifetime: 5 minutes");
    std::fs::write(scratch.path().join("bad.yaml"), &bad).unwrap();
    let place = |text: &str| {
        let line = bad.lines().position(|line| line.contains(text)).unwrap();
        (line + 1, bad.lines().nth(line).unwrap().find(text).unwrap() + 1)
    };

    let json = run(scratch.path(), &["check", "-o", "json", "bad.yaml"]);
    assert_eq!(json.code, 1);
    let mut problems: Vec<Value> = serde_json::from_str(&json.stdout).unwrap();
    problems.retain(|found| found["severity"] == "problem");
    assert_eq!(problems.len(), 2, "every problem at once: {}", json.stdout);
    for problem in &problems {
        assert_eq!(members(problem), ["column", "file", "hint", "line", "message", "path", "severity"]);
        assert_eq!(problem["file"], "bad.yaml");
    }
    let found = |path: &str| problems.iter().find(|problem| problem["path"] == path).unwrap();
    let at =
        |problem: &Value| (problem["line"].as_u64().unwrap() as usize, problem["column"].as_u64().unwrap() as usize);
    let lifetime = found("resources[0].lifetime");
    assert_eq!(at(lifetime), place("5 minutes"));
    assert!(lifetime["hint"].as_str().unwrap().contains("30s, 5m"), "{lifetime}");
    let owner = found("resources[0].ownr");
    assert_eq!(at(owner), place("ownr"));
    assert!(owner["hint"].as_str().unwrap().contains("owner"), "{owner}");

    let text = run(scratch.path(), &["check", "bad.yaml"]);
    assert_eq!(text.code, 1);
    let (line, column) = place("5 minutes");
    for part in ["resources[0].lifetime", &format!("bad.yaml:{line}:{column}"), "hint", "refused, 2 problem(s)"] {
        assert!(text.stdout.contains(part), "{part:?} is missing:\n{}", text.stdout);
    }
    let none = run(scratch.path(), &["check", "none.yaml"]);
    assert_eq!(none.code, 1);
    assert!(none.stdout.contains("none.yaml"), "{}", none.stdout);
}

#[test]
fn help_explains_each_topic_and_usage_is_two() {
    let scratch = ScratchDirectory::new().unwrap();
    let list = run(scratch.path(), &["help"]);
    assert_eq!(list.code, 0);
    for command in ["up", "serve", "check", "help"] {
        assert!(list.stdout.lines().any(|line| line.trim_start().starts_with(command)), "{command}\n{}", list.stdout);
    }
    for topic in ["exchange", "configuration", "refusals", "operations"] {
        let help = run(scratch.path(), &["help", topic]);
        assert!(help.code == 0 && help.stdout.len() > 1000 && help.stderr.is_empty(), "{topic}");
    }
    for wrong in [&["nothing"][..], &[], &["help", "nothing"], &["check"], &["serve"], &["check", "a", "-o", "xml"]] {
        let usage = run(scratch.path(), wrong);
        assert_eq!((usage.code, usage.stdout.as_str()), (2, ""), "{wrong:?}");
        assert!(!usage.stderr.is_empty(), "{wrong:?}");
    }
    let version = run(scratch.path(), &["--version"]);
    assert_eq!((version.code, version.stdout.trim_end()), (0, concat!("countersign ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn up_once_says_where_everything_is_in_one_line_of_json() {
    let scratch = ScratchDirectory::new().unwrap();
    let up = run(scratch.path(), &["up", "--once", "-o", "json", "--listen", "127.0.0.1:0", "--directory", "w"]);
    assert_eq!(up.code, 0, "{}", up.stderr);
    assert_eq!(up.stdout.lines().count(), 1, "{}", up.stdout);
    let place: Value = serde_json::from_str(&up.stdout).unwrap();
    assert_eq!(members(&place), ["admin", "clusters", "config", "issuer", "workload_api"]);
    assert!(place["issuer"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    assert!(place["admin"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    let socket = place["workload_api"].as_str().unwrap();
    assert!(socket.starts_with("unix:/") && socket.ends_with("/agent.sock"), "{socket}");
    let clusters = place["clusters"].as_array().unwrap();
    let names: Vec<&Value> = clusters.iter().map(|cluster| &cluster["name"]).collect();
    assert_eq!(names, ["eu1", "edge-2"]);
    for cluster in clusters {
        assert_eq!(members(cluster), ["admin_token_file", "ca_file", "name", "url"]);
        assert!(cluster["url"].as_str().unwrap().starts_with("https://127.0.0.1:"));
        assert!(Path::new(cluster["ca_file"].as_str().unwrap()).is_file());
        assert!(Path::new(cluster["admin_token_file"].as_str().unwrap()).is_file());
    }
    let config = place["config"].as_str().unwrap();
    assert_eq!(run(scratch.path(), &["check", config]).code, 0, "what `up` writes is a configuration like any other");
    let records = std::fs::read_to_string(scratch.path().join("w/records.jsonl")).unwrap();
    let outcomes: Vec<Value> =
        records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["outcome"].take()).collect();
    assert_eq!(outcomes, ["allow", "allow", "allow"]);
}

#[test]
fn up_once_tells_the_story_without_a_usable_token() {
    let scratch = ScratchDirectory::new().unwrap();
    let up = run(scratch.path(), &["up", "--once", "--listen", "127.0.0.1:0", "--directory", "w"]);
    assert_eq!(up.code, 0, "{}", up.stderr);
    for part in [
        "came in as   spiffe://prod.example/ns/shop/sa/api",
        "came in as   spiffe://id.example/k8s/eu1/ns/shop/sa/api",
        "came in as   spiffe://id.example/k8s/edge-2/ns/shop/sa/api",
        "vouched by   source edge-2 (kubernetes), key ",
        "decided by   rule \"shop may use orders from every cluster\"",
        "may have     read on https://orders.example",
        "masked)",
        "/jwks",
    ] {
        assert!(up.stdout.contains(part), "{part:?} is missing:\n{}", up.stdout);
    }
    let records = std::fs::read_to_string(scratch.path().join("w/records.jsonl")).unwrap();
    for (what, text) in [("stdout", &up.stdout), ("stderr", &up.stderr), ("the records", &records)] {
        assert!(!has_signature(text), "a signature is in {what}:\n{text}");
    }
    assert!(has_signature(&format!("a.{}", "A".repeat(86))), "the search finds what it looks for");
}

#[test]
fn up_stays_on_this_machine() {
    let scratch = ScratchDirectory::new().unwrap();
    for listen in ["0.0.0.0:0", "192.0.2.1:8484", "[::]:0"] {
        let up = run(scratch.path(), &["up", "--once", "--listen", listen, "--directory", "w"]);
        assert_eq!((up.code, up.stdout.as_str()), (2, ""), "{listen}");
        assert!(up.stderr.contains("loopback"), "{}", up.stderr);
        assert!(!scratch.path().join("w").exists(), "nothing was started");
    }
}
