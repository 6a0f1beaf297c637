//! The retained values that a new filter brings, found a few at a time as the subscriber reads: however many there are,
//! and however slow it is, it holds none of them. A value that changes meanwhile is found as it is then.

use super::Delivered;
use super::retained::Keeper;
use crate::Bounds;
use message::{Moment, Pattern};
use std::sync::Arc;

/// How far the values of one filter were read.
pub(crate) struct Walk {
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) pattern: Pattern,
    pub(crate) tag: u32,
    /// Whether the subscriber asked for more than a try.
    pub(crate) lasting: bool,
    /// When the filter was made: values that were over by then do not come.
    pub(crate) since: Moment,
    pub(crate) after: Option<Arc<str>>,
}

impl Walk {
    pub(crate) fn is_same(&self, other: &Walk) -> bool {
        self.tag == other.tag && self.is_of(&other.pattern)
    }

    pub(crate) fn is_of(&self, pattern: &Pattern) -> bool {
        self.pattern.filter() == pattern.filter()
    }

    /// Finds the next values; says whether these were the last.
    pub(crate) fn step(&mut self, into: &mut Vec<Delivered>, max: Bounds) -> bool {
        let page = self.keeper.page(self.since, &self.pattern, self.after.as_deref(), max);
        into.extend(page.values.into_iter().map(|message| {
            let lasting = self.lasting && !message.is_fleeting();
            Delivered { message, tag: self.tag, retained: true, lasting, kept: None }
        }));
        self.after = page.next;
        self.after.is_none()
    }
}
