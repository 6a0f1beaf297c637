//! The table of paths: literals, `{name}` for one level and `{*rest}` for all that follow, each with its methods.
//! No regular expressions, no middleware: what every request needs is done by the handler's own crate.

use std::future::Future;
use std::sync::Arc;

use foldhash::HashMap;
use futures_util::FutureExt;
use http::{HeaderValue, Method, StatusCode, header};
use message::{Code, Fault};
use smallvec::SmallVec;

use super::call::percent_decode;
use super::cors::{self, Cors, Origins};
use super::{Answering, Call, Params, Request, Response, problem};
use crate::registry::ConnInfo;

/// What answers calls.
pub type Handler = Arc<dyn Fn(Call) -> Answering + Send + Sync>;

/// What may come out of a handler: a response, or a fault that becomes a problem document.
pub trait Answer {
    /// The response.
    fn answer(self) -> Response;
}

impl Answer for Response {
    fn answer(self) -> Response {
        self
    }
}

impl Answer for Fault {
    fn answer(self) -> Response {
        problem(&self)
    }
}

impl<T: Answer, E: Answer> Answer for Result<T, E> {
    fn answer(self) -> Response {
        match self {
            Ok(value) => value.answer(),
            Err(error) => error.answer(),
        }
    }
}

/// Makes a handler of an async function.
pub fn handler<F, R>(function: F) -> Handler
where
    F: Fn(Call) -> R + Send + Sync + 'static,
    R: Future<Output: Answer> + Send + 'static,
{
    // `map` and not an async block, which would hold the future twice: once as captured and once as awaited.
    Arc::new(move |call| Box::pin(function(call).map(Answer::answer)))
}

/// Paths and methods and who answers them.
///
/// Of several templates that fit path and method, a literal level wins over `{name}`, and that over `{*rest}`, which
/// may be empty. A HEAD request takes the GET handler when there is none of its own; OPTIONS is answered with `Allow`
/// unless a handler has it.
#[derive(Clone, Default)]
pub struct Routes {
    exact: HashMap<Box<str>, Leaf>,
    root: Node,
    fallback: Option<Handler>,
    cors: Cors,
    twice: Vec<String>,
}

#[derive(Clone, Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    one: Option<Box<(Arc<str>, Node)>>,
    rest: Option<(Arc<str>, Leaf)>,
    leaf: Option<Leaf>,
}

#[derive(Clone)]
struct Leaf {
    template: Arc<str>,
    /// None: every method.
    methods: SmallVec<[(Option<Method>, Handler); 2]>,
}

impl Leaf {
    fn new(template: &str) -> Leaf {
        Leaf { template: Arc::from(template), methods: SmallVec::new() }
    }

    fn handler(&self, method: &Method) -> Option<&Handler> {
        let find = |wanted: &Method| {
            self.methods.iter().find(|(known, _)| known.as_ref() == Some(wanted)).map(|(_, handler)| handler)
        };
        find(method)
            .or_else(|| if method == Method::HEAD { find(&Method::GET) } else { None })
            .or_else(|| self.methods.iter().find(|(known, _)| known.is_none()).map(|(_, handler)| handler))
    }

    fn allow(&self) -> String {
        let mut names: Vec<&str> =
            self.methods.iter().filter_map(|(method, _)| method.as_ref().map(Method::as_str)).collect();
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        names.push("OPTIONS");
        names.sort_unstable();
        names.join(", ")
    }
}

impl Routes {
    /// An empty table: every path is unknown.
    pub fn new() -> Routes {
        Routes::default()
    }

    /// Answers `method` at the paths of `template`.
    pub fn on(&mut self, method: Method, template: &str, handler: Handler) -> &mut Routes {
        self.insert(Some(method), template, handler)
    }

    /// Answers every method that has no handler of its own there.
    pub fn any(&mut self, template: &str, handler: Handler) -> &mut Routes {
        self.insert(None, template, handler)
    }

    /// Answers GET, and HEAD with it.
    pub fn get(&mut self, template: &str, handler: Handler) -> &mut Routes {
        self.on(Method::GET, template, handler)
    }

    /// Answers POST.
    pub fn post(&mut self, template: &str, handler: Handler) -> &mut Routes {
        self.on(Method::POST, template, handler)
    }

    /// Answers PUT.
    pub fn put(&mut self, template: &str, handler: Handler) -> &mut Routes {
        self.on(Method::PUT, template, handler)
    }

    /// Answers DELETE.
    pub fn delete(&mut self, template: &str, handler: Handler) -> &mut Routes {
        self.on(Method::DELETE, template, handler)
    }

    /// Answers what no template matches.
    pub fn fallback(&mut self, handler: Handler) -> &mut Routes {
        self.fallback = Some(handler);
        self
    }

    /// Lets pages of these origins read the answers at and below a path, and ask before they do.
    pub fn origins(&mut self, path: &'static str, origins: Origins) -> &mut Routes {
        self.cors.add(path, origins);
        self
    }

    /// Method and template of everything that was set twice; the later one holds. Empty in a program without mistakes.
    pub fn conflicts(&self) -> &[String] {
        &self.twice
    }

    /// All method and template pairs, sorted; `*` stands for every method.
    pub fn list(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let mut add = |leaf: &Leaf| {
            for (method, _) in &leaf.methods {
                let method = method.as_ref().map_or("*", Method::as_str);
                all.push((leaf.template.to_string(), method.to_owned()));
            }
        };
        self.exact.values().for_each(&mut add);
        self.root.each(&mut add);
        all.sort();
        all
    }

    fn insert(&mut self, method: Option<Method>, template: &str, handler: Handler) -> &mut Routes {
        let leaf = if template.contains('{') {
            self.root.leaf_at(template)
        } else {
            self.exact.entry(Box::from(template)).or_insert_with(|| Leaf::new(template))
        };
        if let Some(place) = leaf.methods.iter_mut().find(|(known, _)| *known == method) {
            place.1 = handler;
            self.twice.push(format!("{} {template}", method.as_ref().map_or("*", Method::as_str)));
        } else {
            leaf.methods.push((method, handler));
        }
        self
    }

    /// Finds the handler and calls it. What nothing matches is a problem document: 404, or 405 with `Allow`.
    pub fn call(&self, request: Request, conn: &Arc<ConnInfo>) -> Answering {
        let Some(origin) = self.cors.admits(request.uri().path(), request.headers()) else {
            return self.answer(request, conn);
        };
        if cors::is_preflight(request.method(), request.headers()) {
            let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
            return ready(cors::preflight(origin, asked));
        }
        Box::pin(self.answer(request, conn).map(move |response| cors::allow(response, origin)))
    }

    fn answer(&self, request: Request, conn: &Arc<ConnInfo>) -> Answering {
        let path = request.uri().path();
        let text = request.uri().path_and_query().map_or(path, |whole| whole.as_str());
        if percent_decode(text).is_none() {
            let what = "the path or the query is not UTF-8 once its escapes are decoded";
            return ready(problem(&Fault::new(Code::BadAddress, what)));
        }
        let mut search = Search { method: request.method(), params: Params::default(), refused: None };
        let exact = self.exact.get(path).and_then(|leaf| search.handler(leaf));
        let found = exact.or_else(|| self.root.find(path.strip_prefix('/').unwrap_or(path), &mut search));
        if let Some((leaf, handler)) = found {
            let (route, params) = (Arc::clone(&leaf.template), search.params);
            return handler(Call { request, params, route, conn: Arc::clone(conn) });
        }
        if let Some(leaf) = search.refused {
            return ready(refuse_method(leaf, request.method()));
        }
        if let Some(handler) = &self.fallback {
            return handler(Call {
                request,
                params: Params::default(),
                route: star(),
                conn: Arc::clone(conn),
            });
        }
        ready(problem(&Fault::new(Code::UnknownAddress, format!("nothing at {path}"))))
    }
}

/// What a search has found on its way.
struct Search<'r, 'm> {
    method: &'m Method,
    params: Params,
    /// The first template that fits the path but not the method.
    refused: Option<&'r Leaf>,
}

impl<'r> Search<'r, '_> {
    fn handler(&mut self, leaf: &'r Leaf) -> Option<(&'r Leaf, &'r Handler)> {
        let found = leaf.handler(self.method);
        if found.is_none() {
            self.refused.get_or_insert(leaf);
        }
        found.map(|handler| (leaf, handler))
    }
}

fn star() -> Arc<str> {
    static STAR: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| Arc::from("*"));
    Arc::clone(&STAR)
}

fn ready(response: Response) -> Answering {
    Box::pin(std::future::ready(response))
}

fn refuse_method(leaf: &Leaf, method: &Method) -> Response {
    let mut response = if method == Method::OPTIONS {
        super::empty(StatusCode::NO_CONTENT)
    } else {
        problem(&Fault::new(
            Code::MethodNotAllowed,
            format!("{method} is not served at {}, but {} is", leaf.template, leaf.allow()),
        ))
    };
    if let Ok(allow) = HeaderValue::try_from(leaf.allow()) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

impl Node {
    fn leaf_at(&mut self, template: &str) -> &mut Leaf {
        let mut node = self;
        for level in template.strip_prefix('/').unwrap_or(template).split('/') {
            let inside = level.strip_prefix('{').and_then(|level| level.strip_suffix('}'));
            match inside {
                Some(name) if name.starts_with('*') => {
                    let name = name.trim_start_matches('*');
                    return &mut node.rest.get_or_insert_with(|| (Arc::from(name), Leaf::new(template))).1;
                }
                Some(name) => {
                    node =
                        &mut node.one.get_or_insert_with(|| Box::new((Arc::from(name), Node::default()))).1;
                }
                None => node = node.literals.entry(Box::from(level)).or_default(),
            }
        }
        node.leaf.get_or_insert_with(|| Leaf::new(template))
    }

    fn find<'r>(&'r self, path: &str, search: &mut Search<'r, '_>) -> Option<(&'r Leaf, &'r Handler)> {
        let (level, after) = match path.split_once('/') {
            Some((level, after)) => (level, Some(after)),
            None => (path, None),
        };
        let decoded = percent_decode(level).unwrap_or_default();
        if let Some(node) = self.literals.get(&*decoded)
            && let Some(found) = node.under(after, search)
        {
            return Some(found);
        }
        let held = search.params.0.len();
        if let Some(one) = &self.one
            && !level.is_empty()
        {
            search.params.0.push((Arc::clone(&one.0), decoded.into_owned()));
            if let Some(found) = one.1.under(after, search) {
                return Some(found);
            }
            search.params.0.truncate(held);
        }
        let (name, leaf) = self.rest.as_ref()?;
        let found = search.handler(leaf)?;
        search.params.0.push((Arc::clone(name), percent_decode(path).unwrap_or_default().into_owned()));
        Some(found)
    }

    fn under<'r>(
        &'r self,
        after: Option<&str>,
        search: &mut Search<'r, '_>,
    ) -> Option<(&'r Leaf, &'r Handler)> {
        match after {
            Some(after) => self.find(after, search),
            None => self.leaf.as_ref().and_then(|leaf| search.handler(leaf)),
        }
    }

    fn each(&self, visit: &mut impl FnMut(&Leaf)) {
        self.leaf.iter().for_each(&mut *visit);
        self.rest.iter().for_each(|(_, leaf)| visit(leaf));
        self.literals.values().for_each(|node| node.each(visit));
        self.one.iter().for_each(|one| one.1.each(visit));
    }
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.list()).finish()
    }
}

#[cfg(test)]
mod tests;
