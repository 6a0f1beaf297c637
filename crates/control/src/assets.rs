//! The dashboard's files, in the binary: plain ES modules, no build step. They hold no data, so they need no key.

use net::http::{Call, Response, Routes, StatusCode, handler, header, problem, respond};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "assets"]
struct Assets;

pub(crate) fn mount(routes: &mut Routes) {
    routes.get("/", handler(|_: Call| async { file("index.html") }));
    routes.get("/assets/{*path}", handler(|call: Call| async move { file(call.param("path")) }));
    routes.get("/favicon.ico", handler(|_: Call| async { file("icon.svg") }));
}

fn file(path: &str) -> Response {
    let Some(asset) = Assets::get(path) else {
        return problem(&message::Fault::new(
            message::Code::UnknownAddress,
            format!("there is no file {path:?}"),
        ));
    };
    let media = match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let mut response = respond(StatusCode::OK, media, asset.data.into_owned());
    let headers = response.headers_mut();
    // Only what this server itself serves may run in the page that holds an operator's key.
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                  form-action 'none'; frame-ancestors 'none'; base-uri 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, net::http::HeaderValue::from_static(policy));
    headers.insert(header::REFERRER_POLICY, net::http::HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, net::http::HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, net::http::HeaderValue::from_static("no-cache"));
    response
}
