//! How often the log tells of one kind of event that clients can cause at will: at once, then now and then with how many.
//! It does not log; its caller knows the words.

use message::Moment;
use parking_lot::Mutex;
use std::time::Duration;

/// How long nothing is told after something was.
const PAUSE: Duration = Duration::from_secs(10);

/// The pace of the log for one kind of event.
#[derive(Default, Debug)]
pub struct LogPace(Mutex<State>);

#[derive(Default, Debug)]
struct State {
    untold: u64,
    told: Option<Moment>,
}

impl LogPace {
    /// Notes an event. Now and then it is time to tell: then, how many there were since the last time, with this one.
    pub fn tells(&self, now: Moment) -> Option<u64> {
        let mut state = self.0.lock();
        state.untold += 1;
        if state.told.is_some_and(|told| now.since(told) < PAUSE) {
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use message::{Clock, Time};

    #[test]
    fn the_first_is_told_then_sums() {
        let (clock, pace) = (Clock::manual(Time::from_millis(0)), LogPace::default());
        assert_eq!(pace.tells(clock.moment()), Some(1));
        assert_eq!([pace.tells(clock.moment()), pace.tells(clock.moment())], [None, None]);
        clock.advance(PAUSE);
        assert_eq!(pace.tells(clock.moment()), Some(3));
    }
}
