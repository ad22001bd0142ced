//! The main job, once: three credentials in, three identities out.

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn an_svid_and_a_pod_of_each_cluster_get_tokens() {
    let stage = Stage::standard().await;
    let svid = stage.exchange_svid(&stage.svid()).await;
    assert_eq!(svid.claims()["sub"], "spiffe://prod.example/ns/shop/sa/api", "{}", svid.text);
    for cluster in ["eu1", "edge-2"] {
        let pod = stage.exchange_pod(&stage.pod_token(cluster)).await;
        assert_eq!(pod.claims()["sub"], format!("spiffe://id.example/k8s/{cluster}/ns/shop/sa/api"), "K8S-09");
    }
    let refused = stage.exchange_svid("a.b.c").await;
    assert_eq!((refused.status, refused.error()), (400, "invalid_client"));
    assert_eq!(stage.reason(&refused).await, "credential_malformed");
    assert_eq!(stage.admin("/readyz").await.status, 200);
    assert!(stage.admin("/metrics").await.text.contains("countersign_decisions_total"));
}
