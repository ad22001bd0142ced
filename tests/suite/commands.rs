//! The commands that answer, as processes beside a running `up`: token, decode, explain, status, doctor, keys.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use countersign::world::ScratchDirectory;
use serde_json::Value;

use crate::evidence;
use crate::stage::{JWT_BEARER, answer, client, encode};

/// A running `up`, ended when dropped.
struct Up {
    child: Child,
    directory: ScratchDirectory,
    facts: Value,
}

impl Up {
    fn start() -> Self {
        let directory = ScratchDirectory::new().unwrap();
        let mut child = command(directory.path(), &["up", "-o", "json", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, directory, facts: serde_json::from_str(&line).unwrap() }
    }

    /// Runs a command in the directory that `up` was started in, with this text on stdin.
    fn run(&self, arguments: &[&str], stdin: &str) -> Ended {
        let mut child = command(self.directory.path(), arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let ended = Ended { code: status.code().unwrap(), out: text(stdout), err: text(stderr) };
        // What `token` prints into a pipe is a token, and is meant to be.
        let told = if arguments[0] == "token" { "" } else { &ended.out };
        evidence::keep("processes.txt", &format!("{arguments:?}\n{told}{}", ended.err));
        ended
    }

    fn token(&self, workload: &str) -> String {
        let ended = self.run(&["token", "--as", workload, "--for", "orders"], "");
        assert_eq!(ended.code, 0, "{}", ended.err);
        let token = ended.out.trim().to_owned();
        evidence::secret(&token);
        token
    }

    fn config(&self) -> &str {
        self.facts["config"].as_str().unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(arguments).current_dir(directory).env_clear().stdin(Stdio::null());
    command
}

#[test]
fn a_token_is_got_decoded_and_compared() {
    let up = Up::start();
    for workload in ["spiffe://prod.example/ns/shop/sa/api", "shop/api@eu1", "shop/api@edge-2"] {
        let token = up.token(workload);
        let decoded = up.run(&["decode", "--audience", "https://orders.example"], &token);
        assert_eq!(decoded.code, 0, "{}", decoded.out);
        assert!(decoded.out.contains("✓ signature") && !decoded.out.contains("NOT VERIFIED"), "{}", decoded.out);
        assert!(!decoded.out.contains(token.rsplit('.').next().unwrap()), "the signature is shown");
    }
    let token = up.token("shop/api@eu1");
    let near = up.run(&["decode", "--audience", "https://orders.example\n"], &token);
    assert_eq!(near.code, 1);
    assert!(near.out.contains(r#"want "https://orders.example\n"; they differ by white space"#), "{}", near.out);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let changed = up.run(&["decode"], &format!("{signed}.{first}{}", &signature[1..]));
    assert_eq!(changed.code, 1);
    assert!(changed.out.starts_with("NOT VERIFIED: anybody could have written what follows."), "{}", changed.out);
    let elsewhere = up.run(&["decode", "--issuer", "http://127.0.0.1:1"], &token);
    assert_eq!(elsewhere.code, 1);
    assert!(elsewhere.out.starts_with("NOT VERIFIED"), "{}", elsewhere.out);
}

#[test]
fn the_front_page_is_enough_from_up_to_a_verified_token() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let block =
        readme.split("While `up` runs, in another terminal").nth(1).and_then(|rest| rest.split("```").nth(1)).unwrap();
    let lines = block.trim_start_matches("sh");
    let up = Up::start();
    let bin = up.directory.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_countersign"), bin.join("countersign")).unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
    let ended = Command::new("bash")
        .args(["-eo", "pipefail", "-c", lines])
        .current_dir(up.directory.path())
        .env("PATH", path)
        .output()
        .unwrap();
    let out = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{out}{}", String::from_utf8_lossy(&ended.stderr));
    for told in ["✓ signature", "✓ audience   https://orders.example", "✓ all is well"] {
        assert!(out.contains(told), "{told}: {out}");
    }
}

#[test]
fn whoever_gets_no_token_hears_why_and_by_the_exit_code() {
    let up = Up::start();
    let run = |arguments: &[&str]| up.run(arguments, "");
    let nobody = run(&["token", "--as", "spiffe://prod.example/nobody", "--for", "orders"]);
    assert_eq!(nobody.code, 4, "{nobody:?}");
    assert!(nobody.err.contains("no registration entry matches it"), "{}", nobody.err);
    let account = run(&["token", "--as", "shop/nobody@eu1", "--for", "orders"]);
    assert_eq!(account.code, 4, "{account:?}");
    let refused = run(&["token", "--as", "shop/api@eu1", "--for", "payments"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("invalid_target"), "{}", refused.err);
    let away = run(&["token", "--as", "shop/api@eu1", "--for", "orders", "--issuer", "http://127.0.0.1:1"]);
    assert_eq!(away.code, 3, "{away:?}");
    assert_eq!(run(&["token", "--as", "nonsense", "--for", "orders"]).code, 2);
}

#[test]
fn a_file_is_kept_fresh_with_mode_0600() {
    use std::os::unix::fs::PermissionsExt;
    let up = Up::start();
    let file: PathBuf = up.directory.path().join("orders.token");
    let mut keeper = command(up.directory.path(), &["token", "--as", "shop/api@eu1", "--for", "orders", "--output"])
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(keeper.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("is fresh for 300 s"), "{said}");
    let token = std::fs::read_to_string(&file).unwrap();
    evidence::secret(&token);
    assert_eq!(token.split('.').count(), 3);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(up.directory.path()).unwrap().count(), 2, "nothing is left beside it");
    keeper.kill().unwrap();
    keeper.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_explained_by_its_reference_and_a_token_before_it_is_shown() {
    let up = Up::start();
    let token = up.token("shop/api@eu1");
    // One of our own tokens is no credential here: refused, and the reference leads to why.
    let issuer = up.facts["issuer"].as_str().unwrap();
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", token.as_str()),
        ("resource", "https://orders.example"),
    ];
    let request = client()
        .post(format!("{issuer}/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(encode(&form));
    let refused = answer(request.send().await.unwrap()).await;
    let reference = refused.body["error_ref"].as_str().unwrap();
    let explained = up.run(&["explain", reference, "--state", ".countersign/state"], "");
    assert_eq!(explained.code, 0, "{}", explained.err);
    assert!(explained.out.contains("DENY  credential_malformed"), "{}", explained.out);
    assert!(explained.out.contains("✗ parsed"), "{}", explained.out);
    assert!(explained.out.contains("- source      (not reached)"), "{}", explained.out);
    let lower = up.run(&["explain", &reference.to_lowercase()], "");
    assert_eq!(lower.out, explained.out, "a reference is read out, so its case does not count");

    let judged = up.run(&["explain", "-", "--for", "orders"], &token);
    assert_eq!(judged.code, 0, "{}", judged.err);
    assert!(judged.out.contains("WOULD_DENY"), "{}", judged.out);
    let unknown = up.run(&["explain", "000000000000"], "");
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""));
    assert!(unknown.err.contains("no kept decision has that reference"), "{}", unknown.err);
    let nowhere = up.run(&["explain", "000000000000", "--state", "nowhere"], "");
    assert_eq!(nowhere.code, 3, "{}", nowhere.err);
}

#[test]
fn status_doctor_and_keys_say_what_is() {
    let up = Up::start();
    let status = up.run(&["status"], "");
    assert_eq!(status.code, 0, "{}{}", status.out, status.err);
    assert!(status.out.starts_with("✓ all is well"), "{}", status.out);
    for source in ["prod", "eu1", "edge-2"] {
        assert!(status.out.contains(&format!("\n  {source}")), "{}", status.out);
    }
    let doctor = up.run(&["doctor", "--config", up.config()], "");
    assert_eq!(doctor.code, 0, "{}", doctor.out);
    assert!(doctor.out.contains("its clock and ours agree"), "{}", doctor.out);
    let issuer = up.facts["issuer"].as_str().unwrap();
    assert!(doctor.out.contains(&format!(r#"audience: "{issuer}""#)), "what to paste: {}", doctor.out);

    let keys = |arguments: &[&str]| up.run(&[&["keys"], arguments].concat(), "");
    assert!(keys(&["status"]).out.contains("signs now"));
    let rotated = keys(&["rotate"]);
    assert!(rotated.out.contains("takes over in 10 m"), "{}{}", rotated.out, rotated.err);
    let held = keys(&["hold", "--for", "2h"]);
    assert!(held.out.contains("takes over in 2 h"), "{}{}", held.out, held.err);
    let none = keys(&["rollback"]);
    assert_eq!(none.code, 1, "there is no earlier key: {}", none.out);
    let waiting: Value = serde_json::from_str(&keys(&["status", "-o", "json"]).out).unwrap();
    let waiting = waiting["keys"].as_array().unwrap().iter().find(|key| key["signs"] == false).unwrap();
    let revoked = keys(&["revoke", waiting["key_id"].as_str().unwrap()]);
    assert_eq!(revoked.code, 0, "{}", revoked.err);
    let file = up.directory.path().join("new.json");
    let written = keys(&["new", "--file", file.to_str().unwrap(), "--activate-in", "0s"]);
    assert_eq!(written.code, 0, "{}", written.err);
    assert_eq!(keys(&["new", "--file", file.to_str().unwrap()]).code, 1, "a file is never overwritten");
}

#[test]
fn doctor_names_what_is_away_and_what_to_paste() {
    let up = Up::start();
    let text = std::fs::read_to_string(up.config()).unwrap();
    let url = up.facts["clusters"][0]["url"].as_str().unwrap();
    let config = up.directory.path().join(".countersign/away.yaml");
    std::fs::write(&config, text.replace(url, "https://127.0.0.1:1").replace("agent.sock", "nowhere.sock")).unwrap();
    let doctor = up.run(&["doctor", "--config", config.to_str().unwrap()], "");
    assert_eq!(doctor.code, 1, "{}", doctor.out);
    assert!(
        doctor.out.contains("✗ eu1") && doctor.out.contains("✗ prod") && doctor.out.contains("✓ edge-2"),
        "{}",
        doctor.out
    );
}

#[test]
fn token_watch_prints_each_token_and_ends_with_the_refusal() {
    let up = Up::start();
    let arguments =
        ["token", "--watch", "--as", "spiffe://prod.example/ns/shop/sa/api", "--for", "orders", "-o", "json"];
    let mut child =
        command(up.directory.path(), &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let one = next();
    assert_eq!((&one["token_type"], one["refresh_in"].as_u64() > Some(0)), (&"Bearer".into(), true));
    let config = std::fs::read_to_string(up.config()).unwrap();
    std::fs::write(up.config(), format!("{config}\n# again\n")).unwrap();
    let two = next();
    assert_ne!(one["access_token"], two["access_token"], "a changed configuration brings another token");
    for answer in [&one, &two] {
        evidence::secret(answer["access_token"].as_str().unwrap());
    }
    // No rule names it any more, and no test asks for it.
    let (without_tests, _) = config.split_once("\ntests:\n").unwrap();
    let narrower =
        without_tests.replace("service_account: api", "service_account: other").replace("/sa/api", "/sa/other");
    std::fs::write(up.config(), narrower).unwrap();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let told = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains("PermissionDenied"), "{told}");
}
