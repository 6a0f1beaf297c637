//! The merged lists as one caller may see them, page by page.
//! What stands in them is the catalogue's.

use super::Visit;
use crate::catalogue::List;
use crate::rpc;
use message::Verb;

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

fn read_cursor(raw: &str) -> Option<usize> {
    crate::json::string(raw)?.strip_prefix('p')?.parse().ok()
}
