//! The merged lists as one caller may see them, and the tasks of one session, page by page.
//! What stands in the lists is the catalogue's, and how a task stands its upstream's.

use super::asking::{self, Running, Step};
use super::{Visit, legacy};
use crate::catalogue::List;
use crate::json::{Fields, Object};
use crate::rpc;
use crate::session::Session;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use message::Verb;
use std::sync::Arc;

/// The most tasks of one page, and of how many the upstreams are asked at once.
const TASKS: usize = 50;
const AT_ONCE: usize = 8;

/// The members of one page: the entries that the caller may call, and where to go on.
pub(crate) async fn page(visit: &Visit, list: List, cursor: Option<&str>) -> Result<String, rpc::Error> {
    visit.gateway.settled().await;
    let catalogue = visit.gateway.catalogue.load();
    let items = catalogue.list(list);
    let start = match cursor.filter(|raw| *raw != "null") {
        None => 0,
        Some(raw) => read_cursor(raw).filter(|start| *start <= items.len()).ok_or_else(|| {
            rpc::Error::new(
                rpc::INVALID_PARAMS,
                "the cursor is not one that we gave, or the list is shorter now",
            )
        })?,
    };
    let most = visit.gateway.config.load().page;
    let mut text = format!("\"{}\":[", list.member());
    let mut count = 0;
    let mut next = None;
    for (place, item) in items.iter().enumerate().skip(start) {
        if !visit.session.may(Verb::Call, &item.address) {
            continue;
        }
        if count == most {
            next = Some(place);
            break;
        }
        if count > 0 {
            text.push(',');
        }
        text.push_str(&item.raw);
        count += 1;
    }
    text.push(']');
    if let Some(next) = next {
        text.push_str(&format!(",\"nextCursor\":\"p{next}\""));
    }
    Ok(text)
}

/// One page of the tasks that were made in this session, each as its upstream shows it now; what an upstream no longer knows
/// is left out. Upstreams' own lists are not asked: behind one credential they would show everybody's.
pub(crate) async fn tasks(
    visit: &Visit,
    session: &Arc<Session>,
    cursor: Option<&str>,
) -> Result<String, rpc::Error> {
    let all = session.tasks();
    let start = match cursor.filter(|raw| *raw != "null") {
        None => 0,
        Some(raw) => {
            // The last of the page before, as the oldest are forgotten and places move.
            let last = crate::json::string(raw).unwrap_or_default();
            let place = all.iter().position(|ours| *ours == last);
            place.ok_or_else(|| {
                rpc::Error::new(rpc::INVALID_PARAMS, "the cursor is not one that we gave, or too old")
            })? + 1
        }
    };
    let page: Vec<&String> = all.iter().skip(start).take(TASKS).collect();
    let shown: Vec<BoxFuture<'_, Option<String>>> =
        page.iter().map(|ours| task(visit, session, ours).boxed()).collect();
    let shown: Vec<Option<String>> = stream::iter(shown).buffered(AT_ONCE).collect().await;
    let shown: Vec<String> = shown.into_iter().flatten().collect();
    let list = Object::new().raw("tasks", &format!("[{}]", shown.join(",")));
    let more = (start + page.len() < all.len()).then_some(page.last()).flatten();
    Ok(match more {
        Some(last) => list.text("nextCursor", last).done(),
        None => list.done(),
    })
}

async fn task(visit: &Visit, session: &Arc<Session>, ours: &str) -> Option<String> {
    let params = Object::new().text("taskId", ours).done();
    let fields = Fields::parse(&params).ok()?;
    let prepared = asking::prepare(visit, legacy::asker(session), "tasks/get", &fields).ok()?;
    let mut running = Running::start(visit, prepared);
    loop {
        match running.next().await {
            Step::Done(outcome) => return outcome.ok(),
            Step::Notify(_) | Step::Ask(_) => {}
        }
    }
}

fn read_cursor(raw: &str) -> Option<usize> {
    crate::json::string(raw)?.strip_prefix('p')?.parse().ok()
}
