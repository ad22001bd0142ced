//! The drain: running requests finish, idle connections close, what never ends is cut.

use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::clock::Lifetime;
use crate::lifecycle::Drained;

impl Served {
    fn drained(&self) -> tokio::task::JoinHandle<Drained> {
        let (drain, clock) = (self.drain.clone(), self.clock.clone());
        let deadline = clock.now().plus(Limits::STANDARD.drain);
        tokio::spawn(async move { drain.wait(deadline, &clock).await })
    }
}

#[tokio::test]
async fn running_requests_finish_and_nothing_new_is_accepted() {
    let served = Served::plain(PATIENT).await;
    let (mut client1, closed1) = http1(served.connect().await).await;
    let (mut client2, closed2) = http2(served.connect().await).await;
    let answer1 = tokio::spawn(async move { client1.send_request(get_request("/gated")).await });
    let mut asking = client2.clone();
    let answer2 = tokio::spawn(async move { asking.send_request(get_request("/gated")).await });
    served.gated_requests(2).await;

    let drained = served.drained();
    until("the port is closed", async || TcpStream::connect(served.address).await.is_err()).await;
    until("HTTP/2 takes no more requests", async || {
        client2.ready().await.is_err() || client2.send_request(get_request("/")).await.is_err()
    })
    .await;
    assert!(!drained.is_finished());

    served.gate.add_permits(2);
    let answer1 = soon(answer1).await.unwrap().unwrap();
    assert_eq!(answer1.headers()["connection"], "close");
    assert_eq!(text(answer1).await, "opened");
    assert_eq!(text(soon(answer2).await.unwrap().unwrap()).await, "opened");
    soon(closed1).await.unwrap().unwrap();
    soon(closed2).await.unwrap().unwrap();
    assert_eq!(soon(drained).await.unwrap(), Drained::Whole);
}

#[tokio::test]
async fn idle_and_unfinished_connections_do_not_hold_the_drain() {
    let served = Served::plain(PATIENT).await;
    let (mut idle1, closed1) = http1(served.connect().await).await;
    let (mut idle2, closed2) = http2(served.connect().await).await;
    text(soon(idle1.send_request(get_request("/"))).await.unwrap()).await;
    text(soon(idle2.send_request(get_request("/"))).await.unwrap()).await;
    let mut silent = served.connect().await;
    let mut half_preface = served.connect().await;
    half_preface.write_all(b"PRI * HT").await.unwrap();
    let mut half_header = served.connect().await;
    half_header.write_all(b"GET / HTTP/1.1\r\nhost: loc").await.unwrap();
    until("all are accepted", async || served.drain.running() == 6).await;

    assert_eq!(soon(served.drained()).await.unwrap(), Drained::Whole);
    soon(closed1).await.unwrap().unwrap();
    soon(closed2).await.unwrap().unwrap();
    for socket in [&mut silent, &mut half_preface, &mut half_header] {
        rest_of(socket).await;
    }
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_at_the_deadline() {
    let served = Served::plain(PATIENT).await;
    let mut socket = served.connect().await;
    socket.write_all(b"POST /length HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nabc").await.unwrap();
    let (mut client, closed) = http2(served.connect().await).await;
    let unanswered = tokio::spawn(async move { client.send_request(unfinished_post()).await });
    // The listener, two connections, and the request of HTTP/2, which is a task of its own.
    until("both are running", async || served.drain.running() == 4).await;

    let drained = served.drained();
    soon(served.drain.begun()).await;
    served.clock.advance(Lifetime::from_seconds(19));
    assert!(tokio::time::timeout(SHORT, rest_of(&mut socket)).await.is_err(), "cut before the deadline");
    assert!(!drained.is_finished());
    served.clock.advance(Lifetime::from_seconds(1));
    assert_eq!(soon(drained).await.unwrap(), Drained::Cut { left: 3 });
    assert_eq!(rest_of(&mut socket).await, "");
    soon(unanswered).await.unwrap().unwrap_err();
    let _ = soon(closed).await.unwrap();
    assert_eq!(served.drain.running(), 0);
}
