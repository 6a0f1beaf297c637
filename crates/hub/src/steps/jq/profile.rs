//! What a program may contain: reads the parsed program, refuses what could run without end, and puts in the meter.
//! It decides from the text alone; what a message may cost at run time is the meter's.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

use super::builtins::{NO_TEXT, TICK, WEIGH, instead, is_allowed};
use super::patterns::Patterns;
use super::{Refusal, VARIABLES};

/// The most steps of a program once its definitions are written out.
const NODES_MAX: usize = 20_000;
/// The most places in the written-out program that put a value into another one: they bound a result's depth.
const DEPTH_MAX: usize = 200;

type Node<'s> = Term<&'s str>;

/// Which variables a program reads.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Used {
    pub(super) headers: bool,
    pub(super) address: bool,
    pub(super) key: bool,
    pub(super) time: bool,
    pub(super) id: bool,
}

/// Refuses `term`, or says which variables it reads and which regular expressions it uses.
pub(super) fn check<'s>(code: &'s str, term: &Node<'s>) -> Result<(Used, Patterns), Refusal> {
    let mut checker =
        Checker { code, nodes: 0, depth: 0, used: Used::default(), patterns: Patterns::default() };
    checker.term(term, None)?;
    Ok((checker.used, checker.patterns))
}

/// What a name stands for, innermost first.
#[derive(Clone, Copy)]
struct Scope<'e, 's> {
    name: &'s str,
    arity: usize,
    meaning: Meaning<'e, 's>,
    outer: Option<&'e Scope<'e, 's>>,
}

#[derive(Clone, Copy)]
enum Meaning<'e, 's> {
    /// A definition and the scope in which it stands.
    Def(&'e Def<&'s str>, Option<&'e Scope<'e, 's>>),
    /// The definition whose body is being read: calling it would be recursion.
    Open,
    /// An argument and the scope of the call.
    Argument(&'e Node<'s>, Option<&'e Scope<'e, 's>>),
}

struct Checker<'s> {
    code: &'s str,
    nodes: usize,
    depth: usize,
    used: Used,
    patterns: Patterns,
}

type Env<'e, 's> = Option<&'e Scope<'e, 's>>;

impl<'s> Checker<'s> {
    fn refuse<T>(&self, part: &str, message: impl Into<String>) -> Result<T, Refusal> {
        Err(Refusal::at(self.code, part, message.into()))
    }

    fn term(&mut self, term: &Node<'s>, env: Env<'_, 's>) -> Result<(), Refusal> {
        self.nodes += 1;
        self.depth += 1;
        if self.nodes > NODES_MAX || self.depth > DEPTH_MAX {
            return self.refuse(
                self.code,
                format!(
                    "too large once its definitions are written out ({NODES_MAX} steps, {DEPTH_MAX} levels)"
                ),
            );
        }
        let done = self.inner(term, env);
        self.depth -= 1;
        done
    }

    fn inner(&mut self, term: &Node<'s>, env: Env<'_, 's>) -> Result<(), Refusal> {
        match term {
            Term::Id | Term::Num(_) | Term::Arr(None) | Term::Break(_) => Ok(()),
            Term::Recurse => self.refuse(self.code, "'..' is refused: write the levels out: .[] or .a.b"),
            Term::Str(format, parts) => {
                if let Some(format) = format {
                    self.builtin(format, 0)?;
                }
                parts.iter().try_for_each(|part| match part {
                    StrPart::Term(term) => self.term(term, env),
                    StrPart::Str(_) | StrPart::Char(_) => Ok(()),
                })
            }
            Term::Arr(Some(inner)) | Term::Neg(inner) | Term::Label(_, inner) => self.term(inner, env),
            Term::Obj(fields) => fields.iter().try_for_each(|(key, value)| {
                self.term(key, env)?;
                value.as_ref().map_or(Ok(()), |value| self.term(value, env))
            }),
            Term::BinOp(left, op, right) => {
                self.term(left, env)?;
                if let BinaryOp::Pipe(Some(pattern)) = op {
                    self.pattern(pattern, env)?;
                }
                self.term(right, env)
            }
            Term::Fold(name, over, pattern, arguments) => {
                if !matches!(*name, "reduce" | "foreach") {
                    return self.refuse(name, format!("{name} is refused: use reduce or foreach"));
                }
                self.term(over, env)?;
                self.pattern(pattern, env)?;
                arguments.iter().try_for_each(|argument| self.term(argument, env))
            }
            Term::TryCatch(tried, caught) => {
                self.term(tried, env)?;
                caught.as_ref().map_or(Ok(()), |caught| self.term(caught, env))
            }
            Term::IfThenElse(branches, otherwise) => {
                for (condition, then) in branches {
                    self.term(condition, env)?;
                    self.term(then, env)?;
                }
                otherwise.as_ref().map_or(Ok(()), |otherwise| self.term(otherwise, env))
            }
            Term::Def(definitions, body) => self.definitions(definitions, body, env),
            Term::Call(name, arguments) => self.call(name, arguments, env),
            Term::Var(name) => self.variable(name),
            Term::Path(of, path) => {
                self.term(of, env)?;
                self.path(path, env)
            }
        }
    }

    fn path(&mut self, path: &Path<Node<'s>>, env: Env<'_, 's>) -> Result<(), Refusal> {
        path.0.iter().try_for_each(|(part, _)| match part {
            Part::Index(index) => self.term(index, env),
            Part::Range(from, upto) => {
                [from, upto].into_iter().flatten().try_for_each(|bound| self.term(bound, env))
            }
        })
    }

    fn pattern(&mut self, pattern: &Pattern<&'s str>, env: Env<'_, 's>) -> Result<(), Refusal> {
        match pattern {
            Pattern::Var(_) => Ok(()),
            Pattern::Arr(inner) => inner.iter().try_for_each(|pattern| self.pattern(pattern, env)),
            Pattern::Obj(fields) => fields.iter().try_for_each(|(key, pattern)| {
                // `{$name}` is a key that binds: it reads no variable.
                if !matches!(key, Term::Var(_)) {
                    self.term(key, env)?;
                }
                self.pattern(pattern, env)
            }),
        }
    }

    /// Each definition sees those before it and, as jq has it, itself; the body sees all.
    fn definitions(
        &mut self,
        definitions: &[Def<&'s str>],
        body: &Node<'s>,
        env: Env<'_, 's>,
    ) -> Result<(), Refusal> {
        let Some((first, rest)) = definitions.split_first() else {
            return self.term(body, env);
        };
        self.nodes += 1;
        // Read once on its own, so that what is wrong in it is found even when nobody calls it.
        let identity = Term::Id;
        self.enter(first, None, env, &identity, env)?;
        let scope = Scope {
            name: first.name,
            arity: first.args.len(),
            meaning: Meaning::Def(first, env),
            outer: env,
        };
        self.definitions(rest, body, Some(&scope))
    }

    /// Reads a definition's body with `arguments`, or `fallback` for each when it is read on its own.
    fn enter<'e>(
        &mut self,
        def: &'e Def<&'s str>,
        arguments: Option<&'e [Node<'s>]>,
        env: Env<'e, 's>,
        fallback: &'e Node<'s>,
        place: Env<'e, 's>,
    ) -> Result<(), Refusal> {
        let open = Scope { name: def.name, arity: def.args.len(), meaning: Meaning::Open, outer: place };
        self.bind(def, 0, arguments, env, fallback, &open)
    }

    fn bind<'e>(
        &mut self,
        def: &'e Def<&'s str>,
        place: usize,
        arguments: Option<&'e [Node<'s>]>,
        env: Env<'e, 's>,
        fallback: &'e Node<'s>,
        inner: &Scope<'_, 's>,
    ) -> Result<(), Refusal> {
        let Some(name) = def.args.get(place) else {
            return self.term(&def.body, Some(inner));
        };
        let argument = arguments.and_then(|arguments| arguments.get(place)).unwrap_or(fallback);
        // An argument `$x` is also callable as `x` in jq; reading its name covers both.
        let name = name.trim_start_matches('$');
        let scope = Scope { name, arity: 0, meaning: Meaning::Argument(argument, env), outer: Some(inner) };
        self.bind(def, place + 1, arguments, env, fallback, &scope)
    }

    fn call(&mut self, name: &'s str, arguments: &[Node<'s>], env: Env<'_, 's>) -> Result<(), Refusal> {
        let mut here = env;
        while let Some(scope) = here {
            if scope.name == name && scope.arity == arguments.len() {
                return match scope.meaning {
                    Meaning::Open => self.refuse(name, format!("{name} calls itself: recursion is refused")),
                    Meaning::Argument(argument, of) => self.term(argument, of),
                    Meaning::Def(def, of) => {
                        let identity = Term::Id;
                        arguments.iter().try_for_each(|argument| self.term(argument, env))?;
                        self.enter(def, Some(arguments), env, &identity, of)
                    }
                };
            }
            here = scope.outer;
        }
        self.builtin(name, arguments.len())?;
        let literal = |term: &Node<'s>| match term {
            Term::Num(_) => true,
            Term::Neg(inner) => matches!(**inner, Term::Num(_)),
            _ => false,
        };
        if name == "range" && !arguments.iter().all(literal) {
            return self.refuse(
                name,
                "range needs literal numbers as bounds; to go over data use .[] or to_entries",
            );
        }
        if matches!(name, "contains" | "indices" | "index" | "rindex") && !arguments.iter().all(is_constant) {
            return self.refuse(name, format!("{name} needs a literal argument, for two values of a message may take their product in time"));
        }
        self.patterns(name, arguments)?;
        arguments.iter().try_for_each(|argument| self.term(argument, env))
    }

    /// Compiles the regular expression of a call: with what cannot be compiled, or comes from a message, none is made.
    fn patterns(&mut self, name: &'s str, arguments: &[Node<'s>]) -> Result<(), Refusal> {
        let flags = match (name, arguments.len()) {
            ("test" | "match" | "capture" | "scan" | "splits", 1 | 2) | ("split", 2) => 1,
            ("sub" | "gsub", 2 | 3) => 2,
            _ => return Ok(()),
        };
        let text = |place: usize| arguments.get(place).map_or(Some(String::new()), literal_text);
        let (Some(pattern), Some(flags)) = (text(0), text(flags)) else {
            let why = format!("{name} needs its regular expression and flags as texts in the program");
            return self.refuse(name, why);
        };
        let added = self.patterns.add(&pattern, &flags);
        added.or_else(|why| self.refuse(name, format!("{name}: {pattern:?}: {why}")))
    }

    fn builtin(&self, name: &str, arity: usize) -> Result<(), Refusal> {
        if is_allowed(name, arity) {
            return Ok(());
        }
        self.refuse(name, format!("{name}/{arity} is not in the total profile: {}", instead(name)))
    }

    fn variable(&mut self, name: &'s str) -> Result<(), Refusal> {
        match name {
            "$ENV" | "$__prog_args" => {
                return self
                    .refuse(name, format!("{name} is refused: a program sees no environment; use $headers"));
            }
            "$headers" => self.used.headers = true,
            "$address" => self.used.address = true,
            "$key" => self.used.key = true,
            "$time" => self.used.time = true,
            "$id" => self.used.id = true,
            // Bound by the program itself, or refused by the compiler with its position.
            _ => {}
        }
        debug_assert_eq!(VARIABLES.len(), 5, "a new variable needs its line here");
        Ok(())
    }
}

/// The text of a literal without holes.
fn literal_text(term: &Node<'_>) -> Option<String> {
    let Term::Str(None, parts) = term else { return None };
    let mut out = String::new();
    for part in parts {
        match part {
            StrPart::Str(text) => out.push_str(text),
            StrPart::Char(one) => out.push(*one),
            StrPart::Term(_) => return None,
        }
    }
    Some(out)
}

fn is_constant(term: &Node<'_>) -> bool {
    match term {
        Term::Num(_) | Term::Arr(None) => true,
        Term::Str(None, parts) => parts.iter().all(|part| !matches!(part, StrPart::Term(_))),
        Term::Neg(inner) | Term::Arr(Some(inner)) => is_constant(inner),
        Term::BinOp(left, BinaryOp::Comma, right) => is_constant(left) && is_constant(right),
        Term::Obj(fields) => {
            fields.iter().all(|(key, value)| is_constant(key) && value.as_ref().is_some_and(is_constant))
        }
        _ => false,
    }
}

/// Functions that go through the whole of their input, which is weighed first.
const WHOLE: &[&str] = &[
    "group_by",
    "implode",
    "join",
    "max_by_or_empty",
    "min_by_or_empty",
    "sort",
    "sort_by",
    "tojson",
    "tostring",
    "contains",
    "indices",
    "flatten",
    "transpose",
];

/// Functions that may go through all of a text, or all entries of a container, and give something small back: their
/// input is charged by its outside first.
const OUTSIDE: &[&str] = &[
    "ascii_downcase",
    "ascii_upcase",
    "decode_base64",
    "encode_base64",
    "endswith",
    "explode",
    "fromjson",
    "hl7",
    "hl7_time",
    "key_values",
    "keys_unsorted",
    "length",
    "ltrim",
    "ltrimstr",
    "reverse",
    "rtrim",
    "rtrimstr",
    "split",
    "startswith",
    "totype",
    "trim",
    "utf8bytelength",
];

/// The same program with the meter put in wherever values grow or repeat.
pub(super) fn meter(term: Node<'_>) -> Node<'_> {
    match term {
        Term::Str(format, parts) => {
            let constant = parts.iter().all(|part| !matches!(part, StrPart::Term(_)));
            let parts = parts
                .into_iter()
                .map(|part| match part {
                    StrPart::Term(term) => StrPart::Term(then(meter(term), WEIGH)),
                    other => other,
                })
                .collect();
            let text = Term::Str(format, parts);
            if constant { text } else { then(text, TICK) }
        }
        Term::Arr(Some(inner)) => then(Term::Arr(Some(Box::new(meter(*inner)))), WEIGH),
        Term::Obj(fields) if fields.is_empty() => Term::Obj(fields),
        Term::Obj(fields) => {
            // `{a}` and `{$x}` are read from the form of their key, which must stay.
            let fields = fields
                .into_iter()
                .map(|(key, value)| match value {
                    Some(value) => (meter(key), Some(meter(value))),
                    None => (key, None),
                })
                .collect();
            then(Term::Obj(fields), WEIGH)
        }
        Term::Neg(inner) => Term::Neg(Box::new(meter(*inner))),
        Term::Label(name, inner) => Term::Label(name, Box::new(meter(*inner))),
        Term::BinOp(left, op, right) => meter_operation(meter(*left), op, meter(*right)),
        Term::Fold(name, over, pattern, arguments) => {
            let arguments = arguments
                .into_iter()
                .enumerate()
                .map(|(place, argument)| {
                    let argument = meter(argument);
                    if place == 1 { then(argument, WEIGH) } else { argument }
                })
                .collect();
            Term::Fold(name, Box::new(then(meter(*over), TICK)), meter_pattern(pattern), arguments)
        }
        Term::TryCatch(tried, caught) => {
            // What is caught is a text that quotes the value at fault, however large that is.
            let caught = caught.map(|caught| Box::new(pipe(Term::Call(TICK, Vec::new()), meter(*caught))));
            Term::TryCatch(Box::new(meter(*tried)), caught)
        }
        Term::IfThenElse(branches, otherwise) => Term::IfThenElse(
            branches.into_iter().map(|(condition, then)| (meter(condition), meter(then))).collect(),
            otherwise.map(|otherwise| Box::new(meter(*otherwise))),
        ),
        Term::Def(definitions, body) => Term::Def(
            definitions
                .into_iter()
                .map(|def| Def { name: def.name, args: def.args, body: meter(def.body) })
                .collect(),
            Box::new(meter(*body)),
        ),
        Term::Call(name, arguments) => meter_call(name, arguments),
        Term::Path(of, path) => {
            let many = path.0.iter().any(|(part, _)| matches!(part, Part::Range(None, None)));
            let path = Path(path.0.into_iter().map(|(part, opt)| (meter_part(part), opt)).collect());
            let whole = Term::Path(Box::new(meter(*of)), path);
            if many { then(whole, TICK) } else { whole }
        }
        leaf
        @ (Term::Id | Term::Recurse | Term::Num(_) | Term::Arr(None) | Term::Break(_) | Term::Var(_)) => leaf,
    }
}

fn meter_call<'s>(name: &'s str, arguments: Vec<Node<'s>>) -> Node<'s> {
    let call = Term::Call(name, arguments.into_iter().map(meter).collect());
    let first = if WHOLE.contains(&name) { Some(WEIGH) } else { OUTSIDE.contains(&name).then_some(TICK) };
    let call = match first {
        Some(charge) => pipe(Term::Call(charge, Vec::new()), call),
        None => call,
    };
    then(call, TICK)
}

fn meter_operation<'s>(left: Node<'s>, op: BinaryOp<&'s str>, right: Node<'s>) -> Node<'s> {
    let binary = |left: Node<'s>, op, right: Node<'s>| Term::BinOp(Box::new(left), op, Box::new(right));
    match op {
        BinaryOp::Pipe(pattern) => binary(left, BinaryOp::Pipe(pattern.map(meter_pattern)), right),
        BinaryOp::Math(Math::Mul) => {
            then(binary(then(left, NO_TEXT), BinaryOp::Math(Math::Mul), then(right, NO_TEXT)), WEIGH)
        }
        BinaryOp::Math(math) => then(binary(left, BinaryOp::Math(math), right), TICK),
        // `l op= r` is `r as $x | l |= . op $x`, written out so that each result passes the meter.
        BinaryOp::UpdateMath(math) => {
            let value = Term::Var(OPERAND);
            let changed = meter_operation(Term::Id, BinaryOp::Math(math), value);
            let update = binary(left, BinaryOp::Update, changed);
            let bound = BinaryOp::Pipe(Some(Pattern::Var(OPERAND)));
            then(binary(right, bound, update), WEIGH)
        }
        BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateAlt => then(binary(left, op, right), WEIGH),
        // Comparing goes through both sides as far as they are equal, so through no more than one of them.
        BinaryOp::Cmp(_) => binary(then(left, WEIGH), op, right),
        BinaryOp::Comma | BinaryOp::Alt | BinaryOp::Or | BinaryOp::And => binary(left, op, right),
    }
}

/// The variable of a written-out `op=`; no program can name it.
const OPERAND: &str = "$!operand";

fn meter_part(part: Part<Node<'_>>) -> Part<Node<'_>> {
    match part {
        Part::Index(index) => Part::Index(meter(index)),
        Part::Range(from, upto) => Part::Range(from.map(meter), upto.map(meter)),
    }
}

fn meter_pattern(pattern: Pattern<&str>) -> Pattern<&str> {
    match pattern {
        Pattern::Var(name) => Pattern::Var(name),
        Pattern::Arr(inner) => Pattern::Arr(inner.into_iter().map(meter_pattern).collect()),
        Pattern::Obj(fields) => {
            Pattern::Obj(fields.into_iter().map(|(key, pattern)| (key, meter_pattern(pattern))).collect())
        }
    }
}

fn then<'s>(term: Node<'s>, name: &'s str) -> Node<'s> {
    pipe(term, Term::Call(name, Vec::new()))
}

fn pipe<'s>(left: Node<'s>, right: Node<'s>) -> Node<'s> {
    Term::BinOp(Box::new(left), BinaryOp::Pipe(None), Box::new(right))
}
