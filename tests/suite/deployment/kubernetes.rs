//! `deploy/kubernetes`: ports, names, labels and mounts fit together, and nothing asks for more than it needs.

use std::path::Path;

use countersign::trust::{IssuerKeys, SourceKind};
use serde_json::{Value, json};

use super::{documents, object, service_configuration, taken, text};

const SERVICE: &str = "kubernetes/service.yaml";
const ACCOUNT: &str = "kubernetes/remote-cluster-discovery.yaml";
const FEEDER: &str = "kubernetes/feeder.yaml";
const LIVENESS: &str = "kubernetes/liveness.yaml";
const ANONYMOUS: &str = "kubernetes/remote-cluster-discovery-anonymous.yaml";

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}"))
}

fn named<'a>(values: &'a Value, name: &Value) -> &'a Value {
    list(values).iter().find(|value| value["name"] == *name).unwrap_or_else(|| panic!("no {name} in {values}"))
}

fn deployment() -> Value {
    object(SERVICE, "Deployment")
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn everything_is_in_the_namespace_and_selects_the_pods() {
    let documents = documents(SERVICE);
    let kinds: Vec<_> = documents.iter().map(|document| document["kind"].as_str().unwrap()).collect();
    let expected =
        ["Namespace", "ServiceAccount", "ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"];
    assert_eq!(kinds, expected);
    let namespace = &documents[0]["metadata"]["name"];
    for document in &documents[1..] {
        assert_eq!(document["metadata"]["namespace"], *namespace, "{}", document["kind"]);
    }
    let deployment = deployment();
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels, &json!({ "app.kubernetes.io/name": "countersign" }));
    let pod = &deployment["spec"]["template"]["spec"];
    for selector in [
        &deployment["spec"]["selector"]["matchLabels"],
        &pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
        &object(SERVICE, "Service")["spec"]["selector"],
        &object(SERVICE, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        &object(SERVICE, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
    assert_eq!(pod["serviceAccountName"], object(SERVICE, "ServiceAccount")["metadata"]["name"]);
    let replicas = deployment["spec"]["replicas"].as_u64().unwrap();
    let kept = object(SERVICE, "PodDisruptionBudget")["spec"]["minAvailable"].as_u64().unwrap();
    assert!(replicas == 2 && kept < replicas, "a node can be drained");
}

#[test]
fn ports_are_those_of_the_configuration() {
    let (_, configuration) = service_configuration();
    let (public, admin) = (configuration.listen.address.port(), configuration.admin.address.port());
    let deployment = deployment();
    let container = container(&deployment);
    let port = |name: &Value| &named(&container["ports"], name)["containerPort"];
    assert_eq!(port(&json!("https")), public);
    assert_eq!(port(&json!("admin")), admin);
    for (probe, path) in [("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")] {
        let get = &container[probe]["httpGet"];
        assert_eq!((get["path"].as_str().unwrap(), port(&get["port"])), (path, &json!(admin)));
    }
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], admin.to_string());
    let service = object(SERVICE, "Service");
    let ports = list(&service["spec"]["ports"]);
    assert_eq!(ports.iter().map(|each| port(&each["targetPort"])).collect::<Vec<_>>(), [&json!(public)]);

    let policy = object(SERVICE, "NetworkPolicy");
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    let [everybody, monitoring] = list(&policy["spec"]["ingress"]) else { panic!("two ways in") };
    assert_eq!(everybody["from"], json!([{ "namespaceSelector": {} }]));
    assert_eq!(everybody["ports"], json!([{ "protocol": "TCP", "port": public }]));
    let only = json!([{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "monitoring" } } }]);
    assert_eq!(monitoring["from"], only);
    assert_eq!(monitoring["ports"], json!([{ "protocol": "TCP", "port": admin }]));
    let out: Vec<_> = list(&policy["spec"]["egress"]).iter().flat_map(|way| list(&way["ports"])).collect();
    let out: Vec<_> = out.iter().map(|port| port["port"].as_u64().unwrap()).collect();
    assert_eq!(out, [53, 53, 443, 6443], "names and API servers");
}

#[test]
fn every_path_of_the_configuration_is_mounted() {
    let (text, configuration) = service_configuration();
    let deployment = deployment();
    let (pod, container) = (&deployment["spec"]["template"]["spec"], container(&deployment));
    let mounts = list(&container["volumeMounts"]);
    let mount_of = |path: &Path| {
        let found = mounts.iter().find(|mount| path.starts_with(mount["mountPath"].as_str().unwrap()));
        found.unwrap_or_else(|| panic!("{} is on no volume", path.display()))
    };
    let volume_of = |path: &Path| named(&pod["volumes"], &mount_of(path)["name"]);
    let Some(countersign::wire::TlsSettings::Files(tls)) = &configuration.listen.tls else { panic!("no files") };
    let secret = |path: &Path| {
        assert_eq!(mount_of(path)["readOnly"], true);
        volume_of(path)["secret"]["secretName"].as_str().unwrap().to_owned()
    };
    assert_eq!([secret(&tls.certificate), secret(&tls.key)], ["countersign-tls", "countersign-tls"]);
    let yaml: Value = serde_saphyr::from_str(&text).unwrap();
    let path = |value: &Value| Path::new(value.as_str().unwrap()).to_owned();
    assert_eq!(secret(&path(&yaml["signing"]["files"])), "countersign-keys");
    let state = &configuration.state.directory;
    assert!(mount_of(state).get("readOnly").is_none() && volume_of(state)["emptyDir"].is_object());
    let limit = volume_of(state)["emptyDir"]["sizeLimit"].as_str().unwrap().strip_suffix("Mi").unwrap();
    assert!(configuration.state.decisions < limit.parse::<u64>().unwrap() << 20, "decisions and more fit in it");

    let socket = yaml["trust"][1]["spiffe"]["workload_api"].as_str().unwrap().strip_prefix("unix:").unwrap();
    assert_eq!(volume_of(Path::new(socket))["csi"], json!({ "driver": "csi.spiffe.io", "readOnly": true }));
    assert_eq!(yaml["trust"][0]["kubernetes"]["keys"], json!({ "api_server": {} }));
    assert_eq!(pod["automountServiceAccountToken"], true, "what `api_server: {{}}` reads");

    let [serve, flag, file] = list(&container["args"]) else { panic!("serve --config FILE") };
    assert_eq!((serve.as_str().unwrap(), flag.as_str().unwrap()), ("serve", "--config"));
    let file = path(file);
    let map = object(SERVICE, "ConfigMap");
    assert_eq!(volume_of(&file)["configMap"]["name"], map["metadata"]["name"]);
    assert!(map["data"][file.file_name().unwrap().to_str().unwrap()].is_string());
    for mount in mounts {
        // A file of a ConfigMap that is mounted alone never changes.
        assert!(mount.get("subPath").is_none());
        named(&pod["volumes"], &mount["name"]);
    }
    assert_eq!(mounts.len(), list(&pod["volumes"]).len());
    // Whole numbers in octal: readable by the group, and by nobody else.
    assert_eq!(super::text(SERVICE).matches("defaultMode: 0440").count(), 2);
}

#[test]
fn pods_fit_the_restricted_standard() {
    let (deployment, feeder, pod) =
        (deployment(), object(FEEDER, "Deployment"), object("kubernetes/client.yaml", "Pod"));
    let template = |deployment: &Value| deployment["spec"]["template"]["spec"].clone();
    for (file, spec) in
        [(SERVICE, template(&deployment)), (FEEDER, template(&feeder)), ("kubernetes/client.yaml", pod["spec"].clone())]
    {
        let namespace = object(file, "Namespace");
        assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
        let security = &spec["securityContext"];
        assert_eq!(security["runAsNonRoot"], true);
        assert!(security["runAsUser"].as_u64().unwrap() > 0);
        assert_eq!(security["seccompProfile"], json!({ "type": "RuntimeDefault" }));
        for container in list(&spec["containers"]) {
            let expected = json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
            });
            assert_eq!(container["securityContext"], expected);
        }
        for refused in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(spec.get(refused).is_none());
        }
        assert!(list(&spec["volumes"]).iter().all(|volume| volume.get("hostPath").is_none()));
    }
    let patience = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
    let before = container(&deployment)["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    assert!(patience > before + 20, "draining takes 20 s at most");
}

/// The source that a file shows in its comments.
fn shown_source(name: &str) -> String {
    let text = text(name);
    let lines: Vec<_> = text.lines().map(|line| line.strip_prefix("# ").unwrap_or_default()).collect();
    let start = lines.iter().position(|line| line.starts_with("- name:")).unwrap();
    let shown = lines[start..].iter().take_while(|line| line.starts_with("- ") || line.starts_with("  "));
    shown.map(|line| format!("  {line}\n")).collect()
}

#[test]
fn sources_of_remote_clusters_are_taken_beside_the_others() {
    let (text, before) = service_configuration();
    for (name, has_token) in [(ACCOUNT, true), (ANONYMOUS, false), (FEEDER, false)] {
        let source = shown_source(name);
        let with = text.replacen("trust:\n", &format!("trust:\n{source}"), 1);
        let configuration = taken(&with);
        assert_eq!(configuration.sources.len(), before.sources.len() + 1);
        assert_eq!(source.contains("token:"), has_token, "{source}");
    }
}

#[test]
fn the_feeder_is_the_one_that_may_push_and_only_calls_out() {
    let source: Value = serde_saphyr::from_str(&shown_source(FEEDER)).unwrap();
    let push = &source[0]["kubernetes"]["keys"]["push"];
    assert!(text(FEEDER).contains(&format!(">{}", push["first"].as_str().unwrap())), "how the first keys are got");
    let deployment = object(FEEDER, "Deployment");
    let (pod, container) = (&deployment["spec"]["template"]["spec"], container(&deployment));
    for kind in ["ServiceAccount", "Deployment", "NetworkPolicy"] {
        assert_eq!(object(FEEDER, kind)["metadata"]["namespace"], push["by"]["namespace"], "{kind}");
    }
    let account = &push["by"]["service_account"];
    assert_eq!((&pod["serviceAccountName"], &object(FEEDER, "ServiceAccount")["metadata"]["name"]), (account, account));
    let subjects = json!([{ "kind": "ServiceAccount", "name": account, "namespace": push["by"]["namespace"] }]);
    assert_eq!(object(FEEDER, "ClusterRoleBinding")["subjects"], subjects);
    assert_eq!(
        (&deployment["spec"]["replicas"], &deployment["spec"]["strategy"]["type"]),
        (&json!(1), &json!("Recreate"))
    );
    // The audience is the address, and the token's file is the one that is read.
    let argument = |name: &str| {
        let found = list(&container["args"]).iter().find_map(|text| text.as_str().unwrap().strip_prefix(name));
        found.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    let (issuer, name) = (argument("--issuer="), argument("--source="));
    assert_eq!(source[0]["name"], name);
    assert_eq!(service_configuration().1.issuer.as_str(), issuer);
    let token = &pod["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["audience"], format!("{issuer}/sources/{name}/keys"));
    let mount = container["volumeMounts"][0]["mountPath"].as_str().unwrap();
    assert_eq!(argument("--token="), format!("{mount}/{}", token["path"].as_str().unwrap()));
    assert!(token["expirationSeconds"].as_u64().unwrap() >= 600, "Kubernetes takes no less");
    let policy = &object(FEEDER, "NetworkPolicy")["spec"];
    assert_eq!(policy["podSelector"]["matchLabels"], deployment["spec"]["selector"]["matchLabels"]);
    assert_eq!((&policy["policyTypes"], policy.get("ingress")), (&json!(["Ingress", "Egress"]), None));
    assert!(container.get("ports").is_none());
    // The binary takes these arguments.
    let mut arguments: Vec<_> = list(&container["args"]).iter().map(|text| text.as_str().unwrap()).collect();
    arguments.push("--once");
    let ended = super::countersign(Path::new("/"), &arguments);
    assert_eq!(ended.status.code(), Some(4), "there is no token here: {}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn remote_clusters_show_their_keys_and_nothing_else() {
    let (account, secret) = (object(ACCOUNT, "ServiceAccount"), object(ACCOUNT, "Secret"));
    let (name, namespace) = (&account["metadata"]["name"], &account["metadata"]["namespace"]);
    let subject = json!([{ "kind": "ServiceAccount", "name": name, "namespace": namespace }]);
    assert_eq!(secret["type"], "kubernetes.io/service-account-token");
    assert_eq!(secret["metadata"]["annotations"]["kubernetes.io/service-account.name"], *name);
    assert_eq!(secret["metadata"]["namespace"], *namespace);
    let anybody =
        json!([{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:unauthenticated" }]);
    for (file, subjects) in [(ACCOUNT, subject), (ANONYMOUS, anybody)] {
        let binding = object(file, "ClusterRoleBinding");
        let role = json!({
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:service-account-issuer-discovery",
        });
        assert_eq!((&binding["roleRef"], &binding["subjects"]), (&role, &subjects));
    }
    assert!(text(ANONYMOUS).contains("WARNING"));
    // The files that the commands write are those that the source names.
    let source = shown_source(ACCOUNT);
    for file in ["edge-2.token", "edge-2-ca.crt"] {
        assert!(source.contains(file) && text(ACCOUNT).contains(&format!(">{file}")), "{file}");
    }
}

#[test]
fn k8s_17_who_asks_for_liveness_may_review_tokens_and_see_pods_and_accounts() {
    let (role, binding) = (object(LIVENESS, "ClusterRole"), object(LIVENESS, "ClusterRoleBinding"));
    let rules = json!([
        { "apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"] },
        { "apiGroups": [""], "resources": ["pods", "serviceaccounts"], "verbs": ["get"] },
    ]);
    assert_eq!(role["rules"], rules);
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    let account = &object(SERVICE, "ServiceAccount")["metadata"];
    let subject = json!([{ "kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"] }]);
    assert_eq!(binding["subjects"], subject);
    // The source that it shows is the one of the service, which is asked now.
    let shown = shown_source(LIVENESS).replace("name: eu1", "name: eu2");
    let configuration = taken(&service_configuration().0.replacen("trust:\n", &format!("trust:\n{shown}"), 1));
    let SourceKind::Kubernetes { liveness: Some(asked), keys: IssuerKeys::ApiServer(server), .. } =
        &configuration.sources[0].kind
    else {
        panic!("{:?}", configuration.sources[0].kind)
    };
    assert_eq!(asked, server);
}
