//! The Dockerfile: it copies what is there, and starts what it made. `tests/real/image` builds by it.

use super::{object, root, service_configuration, text};

/// The instructions: a word and its arguments.
fn instructions() -> Vec<(String, String)> {
    let text = text("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(word, rest)| (word.to_owned(), rest.to_owned())).collect()
}

/// The arguments of an instruction that is there once.
fn only(word: &str) -> String {
    let found: Vec<_> = instructions().into_iter().filter(|(each, _)| each == word).collect();
    let [(_, arguments)] = found.as_slice() else { panic!("{word} stands there once: {found:?}") };
    arguments.clone()
}

/// Sources and destination of each COPY: from the project, and from the stage of the build.
fn copies(from_build: bool) -> Vec<(Vec<String>, String)> {
    let copies = instructions().into_iter().filter(|(word, _)| word == "COPY").map(|(_, arguments)| arguments);
    let of_stage = copies.filter(|arguments| arguments.starts_with("--from=build ") == from_build);
    let words = of_stage.map(|arguments| {
        let words = arguments.split_whitespace().filter(|word| !word.starts_with("--")).map(str::to_owned);
        words.collect::<Vec<_>>()
    });
    words.map(|mut words| (words.split_off(words.len() - 1).remove(0), words)).map(|(to, from)| (from, to)).collect()
}

#[test]
fn what_is_copied_in_is_there_and_let_through() {
    let mut copied: Vec<_> = copies(false).into_iter().flat_map(|(from, _)| from).collect();
    for path in &copied {
        assert!(root().join(path).exists(), "{path}");
    }
    let ignored = text("Dockerfile.dockerignore");
    assert!(ignored.lines().any(|line| line == "*"));
    let mut through: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    copied.sort();
    through.sort_unstable();
    assert_eq!(copied, through);
}

#[test]
fn the_image_has_the_binary_and_authorities_and_starts_as_nobody() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let value = |key: &str| {
        let line = manifest.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    let stages: Vec<_> = instructions().into_iter().filter(|(word, _)| word == "FROM").map(|(_, of)| of).collect();
    assert_eq!(stages, [format!("rust:{}-bookworm AS build", value("rust-version")), "scratch".to_owned()]);

    let build = instructions().into_iter().map(|(_, line)| line).find(|line| line.contains("cargo")).unwrap();
    for part in ["+crt-static", "--locked", "--no-default-features", "--target", "--root /out"] {
        assert!(build.contains(part), "{part}");
    }
    let program = format!("/out/bin/{}", value("name"));
    let started: Vec<String> = serde_json::from_str(&only("ENTRYPOINT")).unwrap();
    let authorities = "/etc/ssl/certs/ca-certificates.crt";
    assert_eq!(
        copies(true),
        [(vec![authorities.to_owned()], authorities.to_owned()), (vec![program], started[0].clone()),]
    );
    assert_eq!(started.len(), 1);

    let deployment = object("kubernetes/service.yaml", "Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let (user, group) = (&pod["securityContext"]["runAsUser"], &pod["securityContext"]["runAsGroup"]);
    assert_eq!(only("USER"), format!("{user}:{group}"));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&only("CMD")).unwrap(), pod["containers"][0]["args"]);
    let image = pod["containers"][0]["image"].as_str().unwrap();
    assert!(image.ends_with(&format!("/{}:{}", value("name"), value("version"))), "{image}");
    assert!(text("Dockerfile").contains(&format!("--tag {image}")));
    let (_, configuration) = service_configuration();
    let ports = format!("{} {}", configuration.listen.address.port(), configuration.admin.address.port());
    assert_eq!(only("EXPOSE"), ports);
}
