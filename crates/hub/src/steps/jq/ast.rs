//! A program as it was written: what the parser makes and the compiler reads.

use super::value::Val;

/// An expression. What can be refused by name or place keeps the byte at which it begins.
#[derive(Clone, Debug)]
pub(super) enum Ast {
    /// `.`
    Id,
    Const(Val),
    /// A text with holes, each formatted by the format's name.
    Text(Option<Box<str>>, Vec<Piece>),
    /// `@name`
    Format(Box<str>, usize),
    /// `a[b]`, `a.b`; whether `?` follows.
    Index(Box<Ast>, Box<Ast>, bool),
    /// `a[from:upto]`
    Slice(Box<Ast>, Option<Box<Ast>>, Option<Box<Ast>>, bool),
    /// `a[]`
    Each(Box<Ast>, bool),
    List(Option<Box<Ast>>),
    Map(Vec<(Key, Ast)>),
    Neg(Box<Ast>),
    Pipe(Box<Ast>, Box<Ast>),
    Comma(Box<Ast>, Box<Ast>),
    Binary(Binary, Box<Ast>, Box<Ast>),
    And(Box<Ast>, Box<Ast>),
    Or(Box<Ast>, Box<Ast>),
    /// `a // b`
    Else(Box<Ast>, Box<Ast>),
    /// `a = b`
    Assign(Box<Ast>, Box<Ast>),
    /// `a |= b`
    Modify(Box<Ast>, Box<Ast>),
    /// `a += b` and its like
    Update(Binary, Box<Ast>, Box<Ast>),
    /// `a //= b`
    UpdateElse(Box<Ast>, Box<Ast>),
    If(Vec<(Ast, Ast)>, Option<Box<Ast>>),
    Try(Box<Ast>, Option<Box<Ast>>),
    /// Source, patterns, start, step.
    Reduce(Box<Ast>, Vec<Pattern>, Box<Ast>, Box<Ast>),
    /// Source, patterns, start, step, result.
    Foreach(Box<Ast>, Vec<Pattern>, Box<Ast>, Box<Ast>, Option<Box<Ast>>),
    /// `a as $x ?// [$x] | b`
    As(Box<Ast>, Vec<Pattern>, Box<Ast>),
    Label(Box<str>, Box<Ast>),
    Break(Box<str>, usize),
    Def(Box<Def>, Box<Ast>),
    Call(Box<str>, Vec<Ast>, usize),
    Var(Box<str>, usize),
    /// `$$$$name` of the prelude
    Taken(Box<str>, usize),
}

#[derive(Clone, Debug)]
pub(super) enum Piece {
    Text(Box<str>),
    Hole(Ast),
}

/// A field's name in an object that is made.
#[derive(Clone, Debug)]
pub(super) enum Key {
    Name(Box<str>),
    Computed(Ast),
    /// A computed name whose value is the input's field of that name.
    Same(Ast),
}

#[derive(Clone, Debug)]
pub(super) enum Pattern {
    Var(Box<str>),
    List(Vec<Pattern>),
    Map(Vec<FieldPattern>),
}

#[derive(Clone, Debug)]
pub(super) struct FieldPattern {
    pub(super) key: Ast,
    /// The variable that takes the value as it is.
    pub(super) variable: Option<Box<str>>,
    pub(super) inner: Option<Pattern>,
}

#[derive(Clone, Debug)]
pub(super) struct Def {
    pub(super) name: Box<str>,
    /// Names; those of values begin with `$`.
    pub(super) params: Vec<Box<str>>,
    pub(super) body: Ast,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Ast {
    pub(super) fn text(text: &str) -> Ast {
        Ast::Const(Val::from(text))
    }

    pub(super) fn call(name: &str, arguments: Vec<Ast>, at: usize) -> Ast {
        Ast::Call(name.into(), arguments, at)
    }
}
