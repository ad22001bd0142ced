//! `deploy/README.md`: it names every file, and its commands are those of the binary.

use countersign::world::ScratchDirectory;

use super::{commands, countersign, files, root, text};

fn blocks(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(str::to_owned).collect()
}

#[test]
fn every_file_is_named() {
    let readme = text("README.md");
    let links: Vec<_> = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    for path in files(&root().join("deploy")) {
        let name = path.to_str().unwrap();
        let said = name == "README.md" || name.ends_with(".dockerignore") || links.contains(&name);
        assert!(said, "{name} is not in deploy/README.md");
    }
    for link in links {
        assert!(root().join("deploy").join(link).exists(), "{link}");
    }
}

#[test]
fn its_commands_are_taken() {
    let scratch = ScratchDirectory::new().unwrap();
    let lines: Vec<_> = blocks(&text("README.md")).iter().flat_map(|block| commands(block)).collect();
    let mut seen = Vec::new();
    for line in &lines {
        let Some(at) = line.iter().rposition(|word| word == "countersign").filter(|at| {
            // `kubectl … -- countersign …` or the first word; `-n countersign` is something else.
            *at == 0 || line[at - 1] == "--"
        }) else {
            continue;
        };
        let mut arguments: Vec<_> = line[at + 1..].iter().map(String::as_str).collect();
        let name = arguments[0];
        seen.push(name);
        if name != "keys" {
            arguments.push("--help");
        }
        let done = countersign(scratch.path(), &arguments);
        assert!(done.status.success(), "{line:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    assert_eq!(seen, ["keys", "status", "doctor"]);
}

#[test]
fn the_key_that_it_makes_serves_as_a_secret() {
    let scratch = ScratchDirectory::new().unwrap();
    let blocks = blocks(&text("README.md"));
    let lines = commands(&blocks[0]);
    let [make, .., secret, _] = lines.as_slice() else { panic!("{lines:?}") };
    let file = make.last().unwrap();
    assert!(secret.iter().any(|word| word == "countersign-keys") && secret.last() == Some(file));
    std::fs::create_dir(scratch.path().join("keys")).unwrap();
    let arguments: Vec<_> = make[1..].iter().map(String::as_str).collect();
    assert!(countersign(&scratch.path().join("keys"), &arguments).status.success());

    let ring = countersign::issue::KeyRing::open(
        &countersign::issue::SigningSettings::Files { path: scratch.path().join("keys") },
        &[countersign::jose::Algorithm::ES256].into(),
        std::sync::Arc::new(countersign::clock::SystemClock),
    );
    assert!(ring.is_ok(), "{ring:?}");
}
