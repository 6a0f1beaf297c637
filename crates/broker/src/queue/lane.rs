//! The task around a machine: takes commands in batches, appends once per batch, answers when that is durable.
//! It decides nothing about messages.

use super::*;
use crate::rates::Counters;
use message::*;
use net::Tasks;
use std::sync::Arc;
use store::{Log, Table};

pub(crate) struct Opening {
    pub(crate) address: Address,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) table: Arc<dyn Table>,
    pub(crate) options: Option<QueueOptions>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Clock,
    pub(crate) epoch: u32,
    pub(crate) tasks: Tasks,
    pub(crate) cache_bytes: usize,
    pub(crate) commands_max: usize,
    pub(crate) batch_max: usize,
}

pub(crate) struct Lane {}

fn soon<T>() -> Result<T, Fault> {
    Err(Fault::new(Code::Internal, "queues come within the hour"))
}
impl Lane {
    pub(crate) async fn open(_opening: Opening) -> Result<Arc<Lane>, Fault> {
        soon()
    }
    pub(crate) async fn configure(&self, _options: QueueOptions) -> Result<(), Fault> {
        soon()
    }
    pub(crate) async fn close(&self) -> Result<(), Fault> {
        soon()
    }
    pub(crate) async fn enqueue(&self, _envelope: Arc<Envelope>) -> Result<Enqueued, Fault> {
        soon()
    }
    pub(crate) async fn lease(&self, _lease: Lease) -> Result<Vec<Delivery>, Fault> {
        soon()
    }
    pub(crate) async fn settle(&self, _token: Token, _settlement: Settlement) -> Result<Settled, Fault> {
        soon()
    }
    pub(crate) async fn peek(&self, _after: Option<Number>, _max: usize) -> Result<Vec<Peeked>, Fault> {
        soon()
    }
    pub(crate) async fn dead(&self, _after: Option<Number>, _max: usize) -> Result<Vec<DeadLetter>, Fault> {
        soon()
    }
    pub(crate) async fn replay(&self, _selection: Selection) -> Result<u64, Fault> {
        soon()
    }
    pub(crate) async fn drop_dead(&self, _selection: Selection) -> Result<u64, Fault> {
        soon()
    }
    pub(crate) async fn purge(&self) -> Result<u64, Fault> {
        soon()
    }
    pub(crate) async fn stats(&self) -> Result<QueueStats, Fault> {
        soon()
    }
}
