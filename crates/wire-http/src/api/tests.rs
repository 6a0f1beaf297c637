//! The data API over real sockets, through the hub and the broker.

mod bounds;
mod curl;
mod follow;
mod once;
mod queues;
mod refusals;
mod topics;
