//! How much of each limit is used, so that an operator hears of it before the limit is reached.
//! Every part reads its own when it is asked; nothing is counted a second time, and nothing is enforced here.

use crate::config::QueueConfig;
use crate::hub::Hub;
use broker::{Mailbox, MailboxOptions};
use parking_lot::Mutex;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// One limit and how much of it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gauge {
    /// The limit's name, as metrics say it: `queue_messages`.
    pub limit: &'static str,
    /// Of what it is the limit, when there are several: the queue's name.
    pub of: Arc<str>,
    /// How much is used now. Of a limit that holds for each connection, message or subscriber: by the one that uses most.
    pub used: u64,
    /// How much may be used.
    pub most: u64,
}

impl Gauge {
    /// The gauge of a limit that there is once.
    pub fn new(limit: &'static str, used: usize, most: usize) -> Gauge {
        let whole = |number| u64::try_from(number).unwrap_or(u64::MAX);
        Gauge { limit, of: "".into(), used: whole(used), most: whole(most) }
    }

    fn of(limit: &'static str, of: &str, used: u64, most: u64) -> Gauge {
        Gauge { limit, of: of.into(), used, most }
    }
}

/// Reads the gauges of one part now.
pub type ReadGauges = Box<dyn Fn() -> Vec<Gauge> + Send + Sync>;

/// What is asked when somebody wants to know.
#[derive(Default)]
pub(crate) struct Gauges {
    readers: Mutex<Vec<Arc<ReadGauges>>>,
    mailboxes: Mutex<Mailboxes>,
}

/// The mailboxes of clients that are here; those that were let go are forgotten when as many came.
#[derive(Default)]
struct Mailboxes {
    all: Vec<Weak<Mailbox>>,
    tidy_at: usize,
}

impl Hub {
    /// Adds a part's gauges to those that metrics show. It is asked while metrics are read, so it must not wait.
    pub fn add_gauges(&self, read: ReadGauges) {
        self.gauge_book().readers.lock().push(Arc::new(read));
    }

    /// A bounded mailbox for a client's filters.
    pub fn mailbox(&self, options: MailboxOptions) -> Arc<Mailbox> {
        let mailbox = self.broker().mailbox(options);
        self.watch_mailbox(&mailbox);
        mailbox
    }

    /// Has a mailbox that did not come from [`Hub::mailbox`] counted by the gauges as well.
    pub fn watch_mailbox(&self, mailbox: &Arc<Mailbox>) {
        let mut mailboxes = self.gauge_book().mailboxes.lock();
        if mailboxes.all.len() >= mailboxes.tidy_at {
            mailboxes.all.retain(|one| one.strong_count() > 0);
            mailboxes.tidy_at = (mailboxes.all.len() * 2).max(64);
        }
        mailboxes.all.push(Arc::downgrade(mailbox));
    }

    /// Every limit that has one, with how much of it is used.
    pub async fn gauges(&self) -> Vec<Gauge> {
        let mut all = self.own_gauges();
        let config = self.config();
        let broker = self.broker();
        for row in broker.queues().await {
            let (name, stats) = (row.address.name(), &row.stats);
            let options = match config.queues.get(name) {
                Some(queue) => queue.options(),
                // A queue that was taken out of the list keeps options that the configuration no longer says.
                None if !name.starts_with('$') && !config.queues_on_demand => continue,
                None => QueueConfig::default().options(),
            };
            all.push(Gauge::of("queue_messages", name, stats.depth, options.messages_max));
            all.push(Gauge::of("queue_bytes", name, stats.bytes, options.bytes_max));
            let dead_max = u64::try_from(options.dead_max).unwrap_or(u64::MAX);
            all.push(Gauge::of("queue_dead_letters", name, stats.dead, dead_max));
        }
        for row in broker.streams() {
            let name = row.address.name();
            let most = config.streams.get(name).cloned().unwrap_or_default().bytes.0;
            all.push(Gauge::of("stream_bytes", name, row.stats.bytes, most));
        }
        let readers = self.gauge_book().readers.lock().clone();
        all.extend(readers.iter().flat_map(|read| read()));
        all
    }

    fn own_gauges(&self) -> Vec<Gauge> {
        let limits = self.limits();
        let here: Vec<Arc<Mailbox>> =
            self.gauge_book().mailboxes.lock().all.iter().filter_map(Weak::upgrade).collect();
        let fullest = here.iter().map(|mailbox| mailbox.len()).max().unwrap_or(0);
        let filters = here.iter().map(|mailbox| mailbox.filters()).max().unwrap_or(0);
        let largest = self.counters().largest_bytes.load(Ordering::Relaxed);
        let largest = usize::try_from(largest).unwrap_or(usize::MAX);
        let (topics, bytes) = self.broker().retained_usage();
        let retained = self.broker().retained_limits();
        let idempotency = usize::try_from(self.compiled().config.idempotency.bytes.0).unwrap_or(usize::MAX);
        vec![
            Gauge::new("message_bytes", largest, limits.message_bytes),
            Gauge::new("mailbox", fullest, limits.mailbox),
            Gauge::new("subscriptions", filters, limits.subscriptions),
            Gauge::new("retained_topics", topics, retained.topics),
            Gauge::new("retained_bytes", bytes, retained.bytes),
            Gauge::new("idempotency_bytes", self.answer_stats().bytes, idempotency),
            Gauge::new("audit_waiting", self.ledger().waiting(), access::WAITING_MAX),
        ]
    }
}
