//! A thousand junk key ids a second, spread over every source, for a minute.

use futures_util::future::join_all;

use super::super::LookAgain;
use super::fetching::Upstream;
use super::*;
use crate::world::Surroundings;
use crate::world::cluster::JWKS_PATH;
use crate::world::spiffe_agent::{PretendTrustDomain, Rpc, WorkloadApi};

const SECONDS: usize = 60;
const A_SECOND: usize = 1000;
const CLUSTERS: usize = 10;

/// One at the start, and one for each 30 s (JWK-13); the regular polls are 15 minutes apart.
const BOUND: u64 = 1 + SECONDS as u64 / 30;

#[tokio::test(flavor = "multi_thread")]
async fn jwk_13_sixty_thousand_junk_key_ids_in_a_minute_are_two_requests_a_source_and_cost_no_good_key() {
    let stand = Stand::new();
    let surroundings = Surroundings::with_clock(Arc::new(stand.clock.clone()));
    let agent_domain = PretendTrustDomain::new("prod.example", &surroundings).unwrap();
    let api = WorkloadApi::start(stand.path("agent.sock"), &agent_domain, &stand.stop).await.unwrap();
    let mut settings = vec![
        domain("prod", "prod.example", SpiffeKeys::WorkloadApi(api.address())),
        cluster_file("filed", &stand.write("filed.json", jwks(&[&jwk("filed")]))),
    ];
    let mut upstreams = Vec::new();
    for index in 0..CLUSTERS {
        let upstream = Upstream::start(&stand, |_| {}).await;
        let ca = stand.write(&format!("{index}.crt"), upstream.cluster.ca_pem());
        let keys = IssuerKeys::Url(endpoint(&format!("{}{JWKS_PATH}", upstream.cluster.url()), Some(ca)));
        settings.push(cluster(&format!("c{index}"), keys));
        upstreams.push(upstream);
    }
    let view = stand.trust.apply(&settings);
    stand.trust.first_attempts().await;
    let sources: Vec<_> = view.sources().cloned().collect();
    for index in 0..CLUSTERS {
        until("asleep", || stand.status(&format!("c{index}")).next_attempt.is_some()).await;
    }
    let new = upstreams[3].cluster.rotate(Algorithm::ES256).unwrap();
    let mut outcomes = [0_usize; 3];
    for second in 0..SECONDS {
        let at = stand.now();
        let junk = (0..A_SECOND).map(|index| {
            let source = &sources[index % sources.len()];
            async move { source.look_again(&kid(&format!("junk-{second}-{index}")), at).await }
        });
        for outcome in join_all(junk).await {
            match outcome {
                LookAgain::NotThere => outcomes[0] += 1,
                LookAgain::Refreshing { .. } => outcomes[1] += 1,
                LookAgain::CannotBeAsked => outcomes[2] += 1,
                other => panic!("{other:?}"),
            }
        }
        for (index, upstream) in upstreams.iter().enumerate() {
            let source = source(&view, &format!("c{index}"));
            let known = key_ids(&source, stand.now()).unwrap();
            assert!(index == 3 || known.contains(&upstream.active()), "second {second}: c{index} lost its key");
        }
        // Who has a new key is told when to come back, and is then known, whatever the junk did meanwhile.
        match sources[5].look_again(&kid(new.kid()), at).await {
            LookAgain::Found => {}
            LookAgain::Refreshing { retry_after } => assert!(second < 30 && retry_after.seconds() <= 30),
            other => panic!("second {second}: {other:?}"),
        }
        stand.clock.advance(Lifetime::from_seconds(1));
    }
    for (index, upstream) in upstreams.iter().enumerate() {
        let requests = upstream.cluster.requests(JWKS_PATH);
        assert!((2..=BOUND).contains(&requests), "c{index} was asked {requests} times");
        assert_eq!(requests, stand.status(&format!("c{index}")).outbound_attempts);
    }
    assert_eq!(api.calls(Rpc::FetchJwtBundles), 1, "a stream is not asked");
    assert_eq!(outcomes.iter().sum::<usize>(), SECONDS * A_SECOND);
    assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
}
