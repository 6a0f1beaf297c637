//! Checks texts of configurations that come over HTTP: without opening what they name, away from the threads that serve
//! connections, a few at a time.

use crate::check;
use crate::config::{Document, Problem, base, parse};
use crate::reload::as_json;
use access::Outside;
use message::{Code, Fault};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How many checks run at once; a further one is refused with TL0022.
const AT_ONCE: usize = 2;
/// When a refused one may come again.
const AGAIN: Duration = Duration::from_secs(1);

/// For the admin API: checks a text as if it stood in `file`.
pub(crate) fn checker(file: Option<&Path>) -> control::CheckConfig {
    let file = file.map_or_else(|| PathBuf::from("trunkline.yaml"), Path::to_owned);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    Arc::new(move |text| {
        let (file, places) = (file.clone(), Arc::clone(&places));
        Box::pin(async move {
            let place = places.try_acquire_owned().map_err(|_| {
                let what = format!("{AT_ONCE} configurations are being checked already");
                Fault::new(Code::TooManyRequests, what).retry_after(AGAIN)
            })?;
            let checking = tokio::task::spawn_blocking(move || {
                // The place is given back by the check itself, whether or not its caller still waits.
                let _place = place;
                check_text(&file, &text)
            });
            let problems =
                checking.await.map_err(|_| Fault::new(Code::Internal, "the check broke off"))??;
            Ok(as_json(&problems))
        })
    })
}

/// The environment is not read: what it overrides would show in what is told.
fn check_text(file: &Path, text: &str) -> Result<Vec<Problem>, Fault> {
    match parse(file, text, []) {
        Ok(document) => check_alone(document, &base(file), Outside::Unread),
        Err(problem) => Ok(vec![*problem]),
    }
}

/// A check on a runtime of its own, for a thread that may block: what the parts begin for it ends with it.
///
/// # Errors
/// When the system gives no runtime.
pub(crate) fn check_alone(document: Document, base: &Path, outside: Outside) -> Result<Vec<Problem>, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::new(Code::Internal, format!("no runtime: {error}")))?;
    Ok(runtime.block_on(check::document_of(document, base, outside)))
}
