//! `deploy/systemd`: the unit starts what exists, may write where the sample configuration writes, and is shut in.

use std::path::Path;
use std::process::Command;

use countersign::world::ScratchDirectory;

use super::{countersign, root, text};

/// Where the binary and the configuration are on a machine.
const BINARY: &str = "/usr/local/bin/countersign";
const CONFIGURATION: &str = "/etc/countersign/countersign.yaml";

/// The assignments of the unit, in order.
fn assignments() -> Vec<(String, String)> {
    let text = text("systemd/countersign.service");
    let lines = text.lines().filter(|line| !line.starts_with(['#', '[']));
    lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The value of a key that stands there once.
fn only(key: &str) -> String {
    let found: Vec<_> = assignments().into_iter().filter(|(each, _)| each == key).map(|(_, value)| value).collect();
    let [value] = found.as_slice() else { panic!("{key} stands there once: {found:?}") };
    value.clone()
}

#[test]
fn the_unit_starts_a_command_that_exists() {
    assert_eq!(only("ExecStart"), format!("{BINARY} serve --config {CONFIGURATION}"));
    let help = countersign(root(), &["serve", "--config", CONFIGURATION, "--help"]);
    assert!(help.status.success(), "{}", String::from_utf8_lossy(&help.stderr));
    // SIGHUP reads the configuration again; SIGTERM drains for 20 s at most.
    assert_eq!(only("ExecReload"), "/bin/kill -HUP $MAINPID");
    let patience: u64 = only("TimeoutStopSec").trim_end_matches('s').parse().unwrap();
    assert!(patience > 20);
}

#[test]
fn it_may_write_where_the_sample_writes_and_nowhere_else() {
    let loaded = countersign::config::load(&root().join("deploy/countersign.yaml"), &Default::default()).unwrap();
    let states = only("StateDirectory");
    let mut folders: Vec<_> = states.split(' ').map(|name| Path::new("/var/lib").join(name)).collect();
    let countersign::issue::SigningSettings::Directory { path: keys, .. } = &loaded.configuration.signing else {
        panic!("the sample makes its own keys")
    };
    let mut written = vec![loaded.configuration.state.directory.clone(), keys.clone()];
    folders.sort();
    written.sort();
    assert_eq!(folders, written);
    assert_eq!(
        (only("ProtectSystem"), only("StateDirectoryMode"), only("UMask")),
        ("strict".into(), "0700".into(), "0077".into())
    );
    assert!(!assignments().iter().any(|(key, _)| key == "ReadWritePaths"));
}

#[test]
fn its_user_is_made_and_is_the_one_that_spire_knows() {
    let user = only("User");
    assert_eq!(only("Group"), user);
    assert!(text("systemd/countersign.conf").lines().any(|line| line.starts_with(&format!("u {user} "))));
    assert!(text("spire/entries.sh").contains(&format!("unix:user:{user}\n")));
    assert!(only("RestrictAddressFamilies").contains("AF_UNIX"), "the Workload API and the operator socket");
}

#[test]
fn it_is_shut_in() {
    for (key, value) in [
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("PrivateDevices", "yes"),
        ("PrivateTmp", "yes"),
        ("ProtectHome", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("ProtectControlGroups", "yes"),
        ("RestrictNamespaces", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("SystemCallArchitectures", "native"),
    ] {
        assert_eq!(only(key), value, "{key}");
    }
    let calls: Vec<_> = assignments().into_iter().filter(|(key, _)| key == "SystemCallFilter").collect();
    assert_eq!(
        calls.iter().map(|(_, calls)| calls.as_str()).collect::<Vec<_>>(),
        ["@system-service", "~@privileged @resources"]
    );
}

/// Where there is systemd, it reads the unit itself.
#[test]
fn systemd_takes_the_unit() {
    let systemd = |arguments: &[&str]| Command::new("systemd-analyze").args(arguments).output();
    if systemd(&["--version"]).is_err() {
        return;
    }
    let scratch = ScratchDirectory::new().unwrap();
    let unit = scratch.path().join("countersign.service");
    // Here the binary is not where it will be.
    std::fs::write(&unit, text("systemd/countersign.service").replace(BINARY, env!("CARGO_BIN_EXE_countersign")))
        .unwrap();
    let unit = unit.to_str().unwrap();
    let verified = systemd(&["verify", unit]).unwrap();
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && !said.contains("countersign.service"), "{said}");
    let security = systemd(&["security", "--offline=yes", "--threshold=20", unit]).unwrap();
    assert!(security.status.success(), "its exposure is above 2.0:\n{}", String::from_utf8_lossy(&security.stdout));
}
