//! LIM-07: no client holds a connection by being slow. The deadline that a test is about is short, all others are long.

use tokio::io::AsyncWriteExt as _;

use super::*;

/// What runs when no connection is open: the listener itself.
const LISTENING: usize = 1;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[tokio::test]
async fn lim_07_a_connection_without_a_request_is_closed() {
    let served = Served::plain(Limits { first_request: SHORT, ..PATIENT }).await;
    let settings = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    let starts: [(&str, &[u8]); 6] = [
        ("nothing", b""),
        ("half a preface", &PREFACE[..12]),
        ("a preface and nothing more", PREFACE),
        ("a preface and settings", &settings),
        ("half a request line", b"GET / HT"),
        ("half a header", b"GET / HTTP/1.1\r\nhost: loc"),
    ];
    for (name, start) in starts {
        let mut socket = served.connect().await;
        socket.write_all(start).await.unwrap();
        let answer = rest_of(&mut socket).await;
        assert!(!answer.contains("200 OK"), "{name}: {answer}");
    }
}

#[tokio::test]
async fn lim_07_a_header_that_drips_gains_no_time() {
    let served = Served::plain(Limits { first_request: SHORT, ..PATIENT }).await;
    let (mut reader, mut writer) = served.connect().await.into_split();
    let dripping = async {
        writer.write_all(b"GET / HTTP/1.1\r\nx-long: ").await.unwrap();
        while writer.write_all(b"z").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    tokio::join!(rest_of(&mut reader), soon(dripping));
}

#[tokio::test]
async fn lim_07_a_body_that_does_not_come_is_408() {
    let served = Served::plain(Limits { request: SHORT, ..PATIENT }).await;
    let mut socket = served.connect().await;
    socket.write_all(b"POST /length HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nabc").await.unwrap();
    let answer = rest_of(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    for part in [
        "connection: close\r\n",
        "cache-control: no-store\r\n",
        "content-type: application/json\r\n",
        r#"{"error":"invalid_request","#,
    ] {
        assert!(answer.contains(part), "{part} in {answer}");
    }

    let (mut client, task) = http2(served.connect().await).await;
    let answer = soon(client.send_request(unfinished_post())).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().get("connection")), (408, None));
    assert!(text(answer).await.contains("invalid_request"));
    assert!(!task.is_finished(), "only the stream ends");
}

#[tokio::test]
async fn an_answer_that_takes_us_too_long_is_not_blamed_on_the_caller() {
    let served = Served::plain(Limits { request: SHORT, ..PATIENT }).await;
    let (mut client, _task) = http1(served.connect().await).await;
    let answer = soon(client.send_request(get_request("/gated"))).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
    assert!(text(answer).await.contains("temporarily_unavailable"));
}

#[tokio::test]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let served = Served::plain(Limits { idle: SHORT, ..PATIENT }).await;
    let (mut busy1, _task) = http1(served.connect().await).await;
    let (mut busy2, _task2) = http2(served.connect().await).await;
    let busy1 = tokio::spawn(async move { busy1.send_request(get_request("/gated")).await });
    let busy2 = tokio::spawn(async move { busy2.send_request(get_request("/gated")).await });
    served.gated_requests(2).await;

    let (mut idle1, closed1) = http1(served.connect().await).await;
    let (mut idle2, closed2) = http2(served.connect().await).await;
    text(soon(idle1.send_request(get_request("/"))).await.unwrap()).await;
    text(soon(idle2.send_request(get_request("/"))).await.unwrap()).await;
    soon(closed1).await.unwrap().unwrap();
    soon(closed2).await.unwrap().unwrap();

    served.gate.add_permits(2);
    assert_eq!(text(soon(busy1).await.unwrap().unwrap()).await, "opened");
    assert_eq!(text(soon(busy2).await.unwrap().unwrap()).await, "opened");
}

#[tokio::test]
async fn a_second_header_that_does_not_come_is_closed_like_an_idle_connection() {
    let served = Served::plain(Limits { idle: SHORT, ..PATIENT }).await;
    let mut socket = served.connect().await;
    socket.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    read_until(&mut socket, "certificates: None }").await;
    socket.write_all(b"GET / HTTP/1.1\r\nhost: loc").await.unwrap();
    rest_of(&mut socket).await;
}

#[tokio::test]
async fn an_answer_that_is_not_taken_ends_the_connection() {
    let served = Served::plain(Limits { request: SHORT, ..PATIENT }).await;
    let mut socket = served.connect().await;
    socket.write_all(b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    read_until(&mut socket, "\r\n\r\n").await;
    until("the server gives up", async || served.drain.running() == LISTENING).await;

    let (mut client, _task) = http2(served.connect().await).await;
    let answer = soon(client.send_request(get_request("/endless"))).await.unwrap();
    until("the server gives up", async || served.drain.running() == LISTENING).await;
    drop(answer);
}

#[tokio::test]
async fn an_answer_that_is_silent_on_our_side_may_stay() {
    let served = Served::plain(Limits { request: SHORT, idle: SHORT, ..PATIENT }).await;
    let (mut client, task) = http2(served.connect().await).await;
    let mut answer = soon(client.send_request(get_request("/silent"))).await.unwrap();
    assert_eq!(soon(answer.frame()).await.unwrap().unwrap().into_data().unwrap(), "first");
    // Another connection lives through all the deadlines meanwhile.
    let (mut other, closed) = http1(served.connect().await).await;
    text(soon(other.send_request(get_request("/"))).await.unwrap()).await;
    soon(closed).await.unwrap().unwrap();
    assert!(tokio::time::timeout(SHORT, answer.frame()).await.is_err(), "the stream ended");
    assert!(!task.is_finished());
}
