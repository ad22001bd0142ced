//! Decides how much of the bodies of all requests together is held in memory (LIM-01, LIM-07).
//!
//! Never holds a byte that is not counted, and never keeps anybody waiting: who finds no room hears so at once.
//!
//! A body is read before anybody is verified, so whoever can connect can send one and never end it. Ordinary requests fit into
//! [`FIRST`]; what a body has beyond that finds room only in the first half of the whole, so that large bodies alone cannot
//! take the room of small ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::clock::Lifetime;
use crate::reason::{Malformed, Refusal, Unavailable};

/// A request has at most this many bytes (LIM-01): a token of 16 KiB and a proof beside it fit four times.
pub(in crate::wire) const LONGEST: usize = 64 * 1024;

/// Bytes of all bodies together that arrive at the same time: 512 of the longest, and then 16,000 ordinary ones.
const TOTAL: usize = 64 * 1024 * 1024;

/// The bytes of each body that find room as long as there is any. An ordinary request has 1 to 2 KiB.
const FIRST: usize = 8 * 1024;

/// Room for this many bytes is taken at first and then doubled, so that a body sent byte by byte does not move in memory with each of them.
const LEAST: usize = 2 * 1024;

/// Whoever finds no room comes back after this: bodies arrive in milliseconds.
const SOON: Lifetime = Lifetime::from_seconds(1);

/// The room that the bodies of all requests share. Clones share it too.
#[derive(Clone, Debug)]
pub(in crate::wire) struct Bodies(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    taken: AtomicUsize,
    total: usize,
}

/// Why a body was not read.
#[derive(Debug)]
pub(in crate::wire) enum Unread {
    Refused(Refusal),
    /// The body ended in the middle.
    CutShort,
}

impl From<Refusal> for Unread {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Bodies {
    /// What the product runs with: 64 MiB.
    pub(in crate::wire) fn standard() -> Self {
        Self::within(TOTAL)
    }

    fn within(total: usize) -> Self {
        Self(Arc::new(Shared { taken: AtomicUsize::new(0), total }))
    }

    /// What holds nothing yet.
    pub(in crate::wire) fn nothing(&self) -> Held {
        Held { bytes: Vec::new(), room: Room { shared: Arc::clone(&self.0), size: 0 } }
    }

    /// Reads a body to its end.
    ///
    /// # Errors
    /// `request_too_large` over 64 KiB, `overloaded` when there is no room, and `CutShort` when it did not arrive whole.
    pub(in crate::wire) async fn read(&self, body: Body) -> Result<Held, Unread> {
        let mut body = Limited::new(body, LONGEST);
        let mut held = self.nothing();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                Some(_) => Refusal::malformed(Malformed::RequestTooLarge, "A request has at most 64 KiB.").into(),
                None => Unread::CutShort,
            })?;
            if let Ok(chunk) = frame.into_data() {
                held.add(&chunk)?;
            }
        }
        Ok(held)
    }
}

/// The bytes of one body, counted until they are dropped.
#[derive(Debug)]
pub(in crate::wire) struct Held {
    // Before the room: the bytes are gone when it is given back.
    bytes: Vec<u8>,
    room: Room,
}

impl Held {
    pub(in crate::wire) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Copies a chunk. Kept as it came it could be one byte of a whole network buffer, and what is held would not be what is counted.
    pub(in crate::wire) fn add(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        let needed = self.bytes.len().saturating_add(chunk.len());
        if needed > self.room.size {
            self.room.grow(needed.next_power_of_two().max(LEAST))?;
            self.bytes.reserve_exact(self.room.size.saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

/// Room that one body has taken. Given back when dropped.
#[derive(Debug)]
struct Room {
    shared: Arc<Shared>,
    size: usize,
}

impl Room {
    /// Takes what is missing to this size.
    ///
    /// # Errors
    /// `overloaded`; the room stays as it is.
    fn grow(&mut self, size: usize) -> Result<(), Refusal> {
        let total = self.shared.total;
        let bound = if size > FIRST { total / 2 } else { total };
        let more = size.saturating_sub(self.size);
        let fits = |taken: usize| taken.checked_add(more).filter(|sum| *sum <= bound);
        if self.shared.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_err() {
            let note =
                format!("bodies that are still arriving hold {bound} of {total} bytes, and this one is at {size}");
            return Err(Refusal::unavailable(Unavailable::Overloaded, note, SOON));
        }
        self.size = size;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared.taken.fetch_sub(self.size, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Bytes;
    use futures_util::{FutureExt, StreamExt, stream};

    use super::*;
    use crate::reason::Reason;

    fn taken(bodies: &Bodies) -> usize {
        bodies.0.taken.load(Ordering::Acquire)
    }

    fn of(length: usize) -> Body {
        Body::from(vec![b'a'; length])
    }

    /// A body that begins with these chunks and never ends.
    fn unfinished(chunks: &[usize]) -> Body {
        let chunks: Vec<_> =
            chunks.iter().map(|length| Ok::<_, Infallible>(Bytes::from(vec![b'a'; *length]))).collect();
        Body::from_stream(stream::iter(chunks).chain(stream::pending()))
    }

    fn reason(read: Result<Held, Unread>) -> Reason {
        match read {
            Err(Unread::Refused(refusal)) => refusal.reason(),
            other => unreachable!("{other:?}"),
        }
    }

    const OVERLOADED: Reason = Reason::Unavailable(Unavailable::Overloaded);

    #[tokio::test]
    async fn lim_01_a_body_has_64_kib_and_no_byte_more() {
        let bodies = Bodies::standard();
        assert_eq!(bodies.read(of(LONGEST)).await.unwrap().bytes().len(), LONGEST);
        assert_eq!(reason(bodies.read(of(LONGEST + 1)).await), Reason::Malformed(Malformed::RequestTooLarge));
        assert_eq!(taken(&bodies), 0);
    }

    #[tokio::test]
    async fn lim_01_small_bodies_find_room_to_the_last_byte() {
        let bodies = Bodies::within(4 * FIRST);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(bodies.read(of(FIRST)).await.unwrap());
        }
        assert_eq!(taken(&bodies), 4 * FIRST);
        assert_eq!(reason(bodies.read(of(1)).await), OVERLOADED);
        assert_eq!(taken(&bodies), 4 * FIRST, "who is refused takes nothing");
        drop(held.pop());
        assert_eq!(taken(&bodies), 3 * FIRST);
        bodies.read(of(FIRST)).await.unwrap();
    }

    #[tokio::test]
    async fn lim_01_large_bodies_find_room_in_the_first_half_alone() {
        let bodies = Bodies::within(8 * FIRST);
        let large = bodies.read(of(4 * FIRST)).await.unwrap();
        assert_eq!(reason(bodies.read(of(FIRST + 1)).await), OVERLOADED);
        let small = bodies.read(of(FIRST)).await.unwrap();
        drop(large);
        assert_eq!(reason(bodies.read(of(2 * FIRST + 1)).await), OVERLOADED, "small ones count in the half too");
        bodies.read(of(2 * FIRST)).await.unwrap();
        drop(small);
        bodies.read(of(4 * FIRST)).await.unwrap();
        assert_eq!(reason(bodies.read(of(4 * FIRST + 1)).await), OVERLOADED, "one past the half");
        assert_eq!(taken(&bodies), 0);
    }

    #[tokio::test]
    async fn lim_07_who_leaves_in_the_middle_gives_back_what_it_held() {
        let bodies = Bodies::within(8 * FIRST);
        let mut reading = Box::pin(bodies.read(unfinished(&[1, 1, LEAST, LEAST])));
        assert!(reading.as_mut().now_or_never().is_none());
        assert_eq!(taken(&bodies), 4 * LEAST);
        drop(reading);
        assert_eq!(taken(&bodies), 0);

        let chunks = [Ok(Bytes::from_static(b"grant_type=")), Err(std::io::Error::other("gone"))];
        let broken = bodies.read(Body::from_stream(stream::iter(chunks))).await;
        assert!(matches!(broken, Err(Unread::CutShort)));
        assert_eq!(taken(&bodies), 0);
    }

    #[tokio::test]
    async fn lim_01_what_is_held_is_what_is_counted() {
        let bodies = Bodies::within(16 * FIRST);
        let single: Vec<_> = (0..LEAST + 1).map(|_| Ok::<_, Infallible>(Bytes::from_static(b"a"))).collect();
        let held = bodies.read(Body::from_stream(stream::iter(single))).await.unwrap();
        assert_eq!((held.bytes.len(), held.bytes.capacity(), taken(&bodies)), (LEAST + 1, 2 * LEAST, 2 * LEAST));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn lim_01_many_at_once_take_no_more_than_there_is() {
        let bodies = Bodies::within(10 * FIRST);
        let mut reading = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let bodies = bodies.clone();
            reading.spawn(async move { bodies.read(of(FIRST)).await });
        }
        let read = reading.join_all().await;
        assert_eq!(read.iter().filter(|read| read.is_ok()).count(), 10);
        drop(read);
        assert_eq!(taken(&bodies), 0);
    }
}
