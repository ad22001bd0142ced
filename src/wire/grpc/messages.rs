//! The messages that a client sends on one call, in their frames of gRPC over HTTP/2.
//!
//! Never holds more than one message and the piece of the next that came with it, counted like every other body.

use axum::body::Body;
use http_body_util::BodyExt;
use prost::Message;

use super::super::http::body::{Bodies, Held, LONGEST, Unread};
use crate::reason::{Malformed, Refusal};

/// A flag and four bytes of length come before each message.
const PREFIX: usize = 5;

/// What a client sends on one call.
#[derive(Debug)]
pub(super) struct Messages {
    body: Body,
    bodies: Bodies,
    held: Held,
}

impl Messages {
    pub(super) fn new(body: Body, bodies: Bodies) -> Self {
        let held = bodies.nothing();
        Self { body, bodies, held }
    }

    /// The one message of a call whose client sends one.
    ///
    /// # Errors
    /// As for `next`; none or more than one is `malformed_request`.
    pub(super) async fn only<M: Message + Default>(&mut self) -> Result<M, Unread> {
        let message = self.next().await?.ok_or_else(|| malformed("The call has no message."))?;
        match self.next::<M>().await? {
            None => Ok(message),
            Some(_) => Err(malformed("The call has more than one message.").into()),
        }
    }

    /// The next message, or `None` after the last. May be dropped while it waits, and called again.
    ///
    /// # Errors
    /// `request_too_large` over 64 KiB, `malformed_request` for what is no such message or is compressed, `overloaded` when
    /// there is no room, and `CutShort` when the last one did not arrive whole.
    pub(super) async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Unread> {
        loop {
            if let Some(message) = self.arrived()? {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.held.add(&chunk)?;
                    }
                }
                None if self.held.bytes().is_empty() => return Ok(None),
                None | Some(Err(_)) => return Err(Unread::CutShort),
            }
        }
    }

    /// The first message of what is held, if it is whole.
    fn arrived<M: Message + Default>(&mut self) -> Result<Option<M>, Refusal> {
        let Some((prefix, rest)) = self.held.bytes().split_at_checked(PREFIX) else { return Ok(None) };
        let [compressed, length @ ..] = *<&[u8; PREFIX]>::try_from(prefix).map_err(|_short| malformed("No prefix."))?;
        if compressed != 0 {
            return Err(malformed("Messages are not compressed."));
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(Refusal::malformed(Malformed::RequestTooLarge, "A message has at most 64 KiB."));
        }
        let Some((message, after)) = rest.split_at_checked(length) else { return Ok(None) };
        // What it says of the cause can repeat what came in.
        let message = M::decode(message).map_err(|_cause| malformed("The message cannot be read."))?;
        let mut left = self.bodies.nothing();
        if !after.is_empty() {
            left.add(after)?;
        }
        self.held = left;
        Ok(Some(message))
    }
}

pub(super) fn malformed(sentence: &str) -> Refusal {
    Refusal::malformed(Malformed::MalformedRequest, sentence)
}
