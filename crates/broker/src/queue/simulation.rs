//! A queue under crashes: a seeded run of machine, records, snapshots and the memory engine's faults against a model.
//! The task around the machine is not part of it; `lane/tests.rs` drives that.

use super::fold;
use super::index::Dead;
use super::machine::{Answer, Command, Effects, Machine};
use super::options::{Expired, QueueOptions};
use super::record::{self, Meta};
use super::types::{Attempt, Number, Selection, Settled, Settlement, Token};
use super::{bodies, snapshot};
use crate::Bounds;
use bytes::Bytes;
use message::{Address, Clock, Code, Dice, Envelope, Fault, Now, Time};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use store::{Appending, Committing, Engine, Faults, Log, Memory, Table, Write};

/// What the model knows of one message, by the label in its body.
#[derive(Default, Debug)]
struct Fate {
    key: Option<u8>,
    /// Its publisher was told that it is durable.
    told: bool,
    /// A consumer acknowledged it; it may be gone.
    acked: bool,
    /// The consumer was told so; it must be gone.
    ack_told: bool,
    /// It was purged, dropped or may have been: it may be gone.
    given_away: bool,
}

enum Told {
    Enqueued(u64),
    Acked(u64),
    Dead(Number),
}

struct Flight {
    appending: Appending,
    upto: u64,
    told: Vec<Told>,
}

enum Save {
    Held { upto: u64, trim: u64, value: Bytes },
    Writing { trim: u64, committing: Committing },
}

struct Sim {
    dice: Dice,
    clock: Clock,
    engine: Memory,
    log: Arc<dyn Log>,
    table: Arc<dyn Table>,
    machine: Machine,
    options: QueueOptions,
    epoch: u32,
    flights: VecDeque<Flight>,
    save: Option<Save>,
    fates: BTreeMap<u64, Fate>,
    labels: HashMap<Number, u64>,
    /// What dead letters were when somebody was told of them.
    dead_told: HashMap<Number, (Code, Vec<Attempt>)>,
    held: Vec<Token>,
    ticket: u64,
    deliveries: u64,
    crashes: u64,
    waits: usize,
}

const DAY_MS: u64 = 86_400_000;
const KEY: &[u8] = b"snapshot";

fn open(engine: &Memory) -> (Arc<dyn Log>, Arc<dyn Table>) {
    (engine.log("queue/sim").unwrap(), engine.table("lanes").unwrap())
}

fn refold(
    now: Now,
    log: &Arc<dyn Log>,
    table: &Arc<dyn Table>,
    options: &QueueOptions,
    epoch: u32,
) -> Machine {
    let saved = table.get(KEY).unwrap();
    let folded = fold::fold(now, &**log, saved.as_ref(), options).unwrap();
    Machine::new(options.clone(), epoch, folded)
}

impl Sim {
    fn new(seed: u64) -> Sim {
        let dice = Dice::seeded(seed);
        let options = QueueOptions {
            messages_max: 200,
            deliveries_max: [0, 2, 3, 5][pick(&dice, 4)],
            hold_ms: 1_000,
            retry_ms: 200,
            ordered: dice.below(2) == 0,
            prioritized: dice.below(2) == 0,
            expired: if dice.below(2) == 0 { Expired::Drop } else { Expired::DeadLetter },
            dead_max: 20,
            ..QueueOptions::default()
        };
        let engine = Memory::new(Faults::crashes(seed));
        let (log, table) = open(&engine);
        let clock = Clock::manual(Time::from_millis(2 * DAY_MS));
        let machine = refold(clock.both(), &log, &table, &options, 1);
        Sim {
            dice,
            clock,
            engine,
            log,
            table,
            machine,
            options,
            epoch: 1,
            flights: VecDeque::new(),
            save: None,
            fates: BTreeMap::new(),
            labels: HashMap::new(),
            dead_told: HashMap::new(),
            held: Vec::new(),
            ticket: 0,
            deliveries: 0,
            crashes: 0,
            waits: 0,
        }
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..35 => self.enqueue(),
            35..55 => self.lease(),
            55..75 => self.settle(),
            75..83 => {
                self.clock.advance(Duration::from_millis(self.dice.below(400)));
                self.batch(vec![Command::Tick], Vec::new());
            }
            83..93 => self.poll(),
            93 => self.save(),
            94 => self.move_forward(),
            95 => self.replay(),
            96 => self.drop_dead(),
            97 if self.dice.below(10) == 0 => self.purge(),
            98 if self.dice.below(4) == 0 => self.crash(),
            // Somebody sets the time of day, up to a day either way.
            99 => self.clock.set(Time::from_millis(DAY_MS + self.dice.below(2 * DAY_MS))),
            _ => self.poll(),
        }
    }

    /// Applies commands as one batch and hands the records to the log, as the worker does.
    fn batch(&mut self, commands: Vec<Command>, mut told: Vec<Told>) -> Vec<Answer> {
        let now = self.clock.both();
        let mut effects = Effects::default();
        self.machine.apply(now, Command::Tick, &mut effects);
        let mut answers = Vec::new();
        for command in commands {
            let token = match &command {
                Command::Settle { token, settlement } => {
                    Some((*token, matches!(settlement, Settlement::Ack)))
                }
                _ => None,
            };
            let answer = self.machine.apply(now, command, &mut effects);
            match (&answer, token) {
                (Answer::Settled(Ok(Settled::Acked)), Some((token, true))) => {
                    let label = self.labels[&token.number];
                    self.fates.get_mut(&label).unwrap().acked = true;
                    told.push(Told::Acked(label));
                }
                (Answer::Settled(Ok(Settled::Dead)), Some((token, _))) => told.push(Told::Dead(token.number)),
                _ => {}
            }
            answers.push(answer);
        }
        self.machine.finish(now, &mut effects);
        for grant in effects.grants {
            self.waits -= 1;
            for leased in grant.leases {
                self.granted(&leased);
            }
        }
        if effects.records.is_empty() {
            match self.flights.back_mut() {
                Some(flight) => flight.told.extend(told),
                None => told.into_iter().for_each(|told| self.tell(told)),
            }
        } else {
            let appending = self.log.append(effects.records);
            self.flights.push_back(Flight { appending, upto: self.machine.next(), told });
        }
        self.machine.index().check(&self.options);
        self.note_forgotten();
        answers
    }

    fn granted(&mut self, leased: &super::machine::Leased) {
        let number = leased.token.number;
        self.deliveries += 1;
        let body = bodies::read(&*self.log, vec![leased.at]).unwrap().remove(&leased.at);
        let envelope =
            record::read_envelope(&body.expect("granted before it was durable"), self.clock.both()).unwrap();
        let label = label_of(&envelope);
        assert_eq!(self.labels.get(&number), Some(&label), "the bytes are those of another message");
        let fate = &self.fates[&label];
        assert!(!fate.ack_told, "message {label} was delivered after its acknowledgement");
        if self.options.deliveries_max > 0 {
            assert!(leased.attempt <= self.options.deliveries_max, "delivered too often");
        }
        if self.options.ordered && fate.key.is_some() {
            let index = self.machine.index();
            let key = index.entries[&number].meta.key;
            for (other, entry) in &index.entries {
                assert!(
                    *other >= number || entry.meta.key != key,
                    "message {number} overtook {other} of its key, which is {:?}",
                    entry.place
                );
            }
        }
        self.held.push(leased.token);
    }

    fn tell(&mut self, told: Told) {
        match told {
            Told::Enqueued(label) => self.fates.get_mut(&label).unwrap().told = true,
            Told::Acked(label) => self.fates.get_mut(&label).unwrap().ack_told = true,
            Told::Dead(number) => {
                if let Some(dead) = self.machine.index().dead.get(&number) {
                    self.dead_told.insert(number, (dead.died.code, dead.history.clone()));
                }
            }
        }
    }

    fn enqueue(&mut self) {
        let (mut commands, mut labels, now) = (Vec::new(), Vec::new(), self.clock.both());
        for _ in 0..=self.dice.below(3) {
            let label = self.fates.len() as u64 + labels.len() as u64;
            let mut envelope = Envelope::new(
                Address::parse("queue/sim").unwrap(),
                label.to_string(),
                &self.clock,
                &self.dice,
            );
            let key = (self.dice.below(3) > 0).then(|| u8::try_from(self.dice.below(4)).unwrap());
            envelope.key = key.map(|key| format!("key {key}").into());
            envelope.priority = u8::try_from(self.dice.below(10)).unwrap();
            if self.dice.below(10) == 0 {
                envelope.deadline = Some(now.due_in(Duration::from_millis(self.dice.below(3_000))));
            }
            let meta = Meta::of(now, &envelope);
            commands.push(Command::Enqueue { meta, record: record::enqueued(now, &meta, &envelope) });
            labels.push((label, key, envelope.deadline.is_some()));
        }
        // Where the answers are told is only known after the batch, so they are told of in a batch of their own.
        for (command, (label, key, mortal)) in commands.into_iter().zip(labels) {
            // A message with a deadline may be dropped by the queue at any time after it.
            self.fates.insert(label, Fate { key, given_away: mortal, ..Fate::default() });
            let next = self.machine.next();
            // Known before the batch ends, because it may be granted in it only when the engine is instant.
            self.labels.insert(next, label);
            let answers = self.batch(vec![command], vec![Told::Enqueued(label)]);
            match &answers[0] {
                Answer::Enqueued(Ok(enqueued)) => {
                    self.labels.insert(enqueued.number, label);
                }
                Answer::Enqueued(Err(fault)) => {
                    assert_eq!(fault.code(), Code::QueueFull);
                    self.fates.get_mut(&label).unwrap().given_away = true;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn lease(&mut self) {
        if self.waits > 20 {
            return;
        }
        self.waits += 1;
        self.ticket += 1;
        let wait = Duration::from_millis(self.dice.below(2) * self.dice.below(2_000));
        self.batch(
            vec![Command::Lease {
                ticket: self.ticket,
                max: Bounds { messages: 1 + pick(&self.dice, 4), bytes: 64 << pick(&self.dice, 8) },
                hold: None,
                until: self.clock.moment().after(wait),
                consumer: format!("consumer {}", self.dice.below(3)).into(),
            }],
            Vec::new(),
        );
    }

    fn settle(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let place = pick(&self.dice, self.held.len());
        let token = self.held[place];
        let error = Fault::new(Code::UpstreamFailed, format!("failure {}", self.dice.below(1_000)));
        let settlement = match self.dice.below(10) {
            0..5 => Settlement::Ack,
            5..8 => Settlement::Retry { delay: None, error, took: None },
            8 if self.dice.below(2) == 0 => Settlement::Reject { error },
            8 => Settlement::Release,
            _ => Settlement::Extend { hold: Some(Duration::from_millis(self.dice.below(3_000))) },
        };
        if !matches!(settlement, Settlement::Extend { .. }) {
            self.held.remove(place);
        }
        let answers = self.batch(vec![Command::Settle { token, settlement }], Vec::new());
        if let Answer::Settled(Err(fault)) = &answers[0] {
            assert_eq!(fault.code(), Code::LeaseLost);
        }
    }

    /// Lets the disk go on a little.
    fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Some(flight) = self.flights.front_mut() {
            match Pin::new(&mut flight.appending).poll(&mut context) {
                Poll::Pending => break,
                Poll::Ready(result) => {
                    let range = result.expect("an honest disk");
                    assert_eq!(range.end, flight.upto, "the machine foretold other offsets");
                    let flight = self.flights.pop_front().unwrap();
                    for told in flight.told {
                        self.tell(told);
                    }
                    self.batch(vec![Command::Durable { upto: flight.upto }], Vec::new());
                }
            }
        }
        let durable = self.log.tail();
        self.save = match self.save.take() {
            Some(Save::Held { upto, trim, value }) if upto <= durable => {
                let committing = self.table.commit(vec![Write::put(KEY, value)]);
                Some(Save::Writing { trim, committing })
            }
            Some(Save::Writing { trim, mut committing }) => {
                match Pin::new(&mut committing).poll(&mut context) {
                    Poll::Pending => Some(Save::Writing { trim, committing }),
                    Poll::Ready(result) => {
                        result.expect("an honest disk");
                        self.log.trim(trim).unwrap();
                        None
                    }
                }
            }
            other => other,
        };
    }

    fn save(&mut self) {
        if self.save.is_none() {
            let upto = self.machine.next();
            let value = snapshot::write(self.clock.both(), upto, self.machine.index());
            self.save = Some(Save::Held { upto, trim: self.machine.needed_from(), value });
        }
    }

    fn move_forward(&mut self) {
        let head = self.log.head();
        let before = head + self.dice.below(self.log.tail() - head + 1);
        let rows = self.machine.behind(before);
        let mut found = bodies::read(&*self.log, rows.iter().map(|row| row.1).collect()).unwrap();
        let items = rows
            .iter()
            .filter_map(|(number, at, _)| Some((*number, record::read_payload(&found.remove(at)?)?)))
            .collect();
        self.batch(vec![Command::Move { items }], Vec::new());
    }

    fn replay(&mut self) {
        let now = self.clock.both();
        let numbers = self.machine.select(&Selection::Oldest(1 + pick(&self.dice, 5)));
        for number in numbers {
            let dead: Dead = self.machine.index().dead[&number].clone();
            let Some(bytes) = bodies::read(&*self.log, vec![dead.at]).unwrap().remove(&dead.at) else {
                continue;
            };
            let mut envelope = record::read_envelope(&bytes, now).unwrap();
            envelope.deadline = None;
            let label = label_of(&envelope);
            let meta = Meta::of(now, &envelope);
            let record = record::replayed(now, (number, &dead.history), &meta, &envelope);
            self.labels.insert(self.machine.next(), label);
            self.dead_told.remove(&number);
            let before = self.machine.next();
            self.batch(vec![Command::Replay { items: vec![(number, meta, record)] }], Vec::new());
            // A tick in the same batch may have written a list before it.
            let at = (before..self.machine.next())
                .find(|at| self.machine.index().entries.get(at).is_some_and(|entry| entry.at == *at));
            if let Some(at) = at {
                self.labels.insert(at, label);
            }
        }
    }

    fn drop_dead(&mut self) {
        let selection = Selection::Oldest(1 + pick(&self.dice, 3));
        for number in self.machine.select(&selection) {
            let label = self.labels[&number];
            self.fates.get_mut(&label).unwrap().given_away = true;
            self.dead_told.remove(&number);
        }
        self.batch(vec![Command::DropDead { selection }], Vec::new());
    }

    fn purge(&mut self) {
        let numbers: Vec<Number> = self.machine.index().entries.keys().copied().collect();
        for number in numbers {
            let label = self.labels[&number];
            self.fates.get_mut(&label).unwrap().given_away = true;
        }
        self.batch(vec![Command::Purge], Vec::new());
    }

    /// The machine stops and starts again, and what it finds is compared with the model.
    fn crash(&mut self) {
        self.crashes += 1;
        self.flights.clear();
        self.save = None;
        self.held.clear();
        self.waits = 0;
        self.engine = self.engine.crash();
        (self.log, self.table) = open(&self.engine);
        self.epoch += 1;
        self.machine = refold(self.clock.both(), &self.log, &self.table, &self.options, self.epoch);
        let alone = fold::fold(self.clock.both(), &*self.log, None, &self.options).unwrap();
        let index = self.machine.index();
        assert!(
            index.entries.keys().eq(alone.index.entries.keys())
                && index.dead.keys().eq(alone.index.dead.keys()),
            "the log alone gives another state than the snapshot and the log"
        );
        self.compare();
    }

    /// Dead letters beyond `dead_max` were forgotten, as they should be.
    fn note_forgotten(&mut self) {
        if self.machine.index().dead.len() >= self.options.dead_max {
            for fate in self.fates.values_mut() {
                fate.given_away = true;
            }
            self.dead_told.clear();
        }
    }

    fn compare(&mut self) {
        let index = self.machine.index();
        index.check(&self.options);
        let live = index.entries.iter().map(|(number, entry)| (*number, entry.at));
        let dead = index.dead.iter().map(|(number, dead)| (*number, dead.at));
        let mut there: HashMap<u64, Number> = HashMap::new();
        for (number, at) in live.chain(dead) {
            let bytes = bodies::read(&*self.log, vec![at]).unwrap().remove(&at).expect("bytes are trimmed");
            let twice =
                there.insert(label_of(&record::read_envelope(&bytes, self.clock.both()).unwrap()), number);
            assert_eq!(twice, None, "a message is there twice");
        }
        for (label, fate) in &mut self.fates {
            match there.get(label) {
                Some(number) => {
                    assert!(!fate.ack_told, "message {label} came back after its acknowledgement");
                    fate.acked = false;
                    fate.told = true;
                    self.labels.insert(*number, *label);
                }
                None => {
                    let may_be_gone = !fate.told || fate.acked || fate.given_away;
                    assert!(may_be_gone, "message {label} was lost: {fate:?}");
                    fate.given_away = true;
                }
            }
        }
        for (number, (code, history)) in &self.dead_told {
            let dead = index.dead.get(number).expect("a dead letter was lost");
            assert_eq!((dead.died.code, &dead.history), (*code, history), "a dead letter lost its attempts");
        }
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
        self.crash();
        // Everything that is left is consumed: nothing may be stuck.
        self.options.deliveries_max = 0;
        let options = Box::new(self.options.clone());
        self.batch(vec![Command::Configure { options }], Vec::new());
        for _ in 0..10_000 {
            if self.machine.index().entries.is_empty() && self.flights.is_empty() {
                break;
            }
            self.clock.advance(Duration::from_millis(100));
            self.batch(vec![Command::Tick], Vec::new());
            if self.waits < 5 {
                self.lease();
            }
            for token in std::mem::take(&mut self.held) {
                self.batch(vec![Command::Settle { token, settlement: Settlement::Ack }], Vec::new());
            }
            self.poll();
        }
        assert!(self.machine.index().entries.is_empty(), "messages are stuck: {:?}", self.machine.stats());
        self.save();
        for _ in 0..100 {
            self.poll();
        }
        let left = self.log.tail() - self.log.head();
        let dead = self.machine.index().dead.len();
        assert!(dead > 0 || left == 0, "an empty queue keeps {left} records");
    }
}

fn pick(dice: &Dice, count: usize) -> usize {
    usize::try_from(dice.below(count as u64)).unwrap()
}

fn label_of(envelope: &Envelope) -> u64 {
    std::str::from_utf8(&envelope.body).unwrap().parse().unwrap()
}

/// One seed by `BROKER_SEED`, or as many as `BROKER_SEEDS` says.
// Finding: B4
#[test]
fn nothing_acknowledged_is_lost_and_nothing_acked_comes_back() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("BROKER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BROKER_SEEDS").unwrap_or(8),
    };
    let (mut deliveries, mut crashes) = (0, 0);
    for seed in seeds.clone() {
        let run = std::panic::catch_unwind(|| {
            let mut sim = Sim::new(seed);
            sim.run(2_000);
            (sim.deliveries, sim.crashes)
        });
        match run {
            Ok(counts) => (deliveries, crashes) = (deliveries + counts.0, crashes + counts.1),
            Err(panic) => {
                eprintln!("failing seed: BROKER_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{seeds:?}: {deliveries} deliveries, {crashes} crashes");
    assert!(deliveries > 0 && crashes > 0);
}
