//! Mutual TLS: X.509-SVIDs as client authentication, judged anew for every request of a connection (standards parts 15 and 24).

mod authorities;
mod bound;
mod client;
mod connections;
mod endpoints;
mod ground;
mod leaves;
mod relations;
mod requests;
mod served;
