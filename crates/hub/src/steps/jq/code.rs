//! What the machine runs. An operation works on the top of a stack of values: an expression takes its input from there
//! and leaves one result; what it makes besides comes when the machine goes back to its last fork.

use super::ast::Binary;
use super::natives::Native;
use super::value::Val;
use std::sync::Arc;

/// A variable or parameter: so many frames outwards, and its number there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) level: u16,
    pub(super) slot: u16,
}

#[derive(Debug)]
pub(super) enum Op {
    /// Replaces the top.
    Const(Val),
    Dup,
    Pop,
    /// Doubles the top; until the matching end, accesses are no part of a path.
    Begin,
    /// Puts the top where no fork before comes back to it.
    Own,
    /// As [`Op::Begin`], and leaves null where the top was, even where a fork would come back to it.
    BeginTaken,
    /// Exchanges the two on top and ends what [`Op::Begin`] began.
    End,
    /// Ends what [`Op::Begin`] began.
    Outside,
    /// Takes the top away, ends what [`Op::Begin`] began, and jumps when it was false or null.
    Unless(u32),
    /// Stores the top and ends what [`Op::Begin`] began.
    Bind(Place),
    /// Puts a value under the top.
    Under(Val),
    /// Takes the container and, under it, the key.
    Index(bool),
    /// As [`Op::Index`] with a key that is known.
    Key(Val, bool),
    Each(bool),
    /// Comes back here, with the stack as it is, to go on at the address.
    Fork(u32),
    Jump(u32),
    /// Jumps when the top, which stays, is false or null.
    JumpUnless(u32),
    Backtrack,
    /// On an error in what follows: puts its value on the stack and goes on at the address.
    TryBegin(u32),
    /// What follows is no longer tried.
    TryEnd,
    /// On an error in all that follows: goes on at the address.
    Alternative(u32),
    /// Makes a new label; what breaks to it comes back here and is over.
    Label(Place),
    Load(Place),
    /// As [`Op::Load`], and leaves the variable null.
    Take(Place),
    Store(Place),
    /// Makes the variable an empty list and forks to the address.
    Collect(Place, u32),
    /// Adds the top to the variable and backtracks.
    Append(Place),
    /// Adds the value of the second variable to the list in the first and backtracks.
    Note(Place, Place),
    /// Under the top: value, name, object. Leaves object and top.
    Insert,
    /// Under the top: value, object. Leaves object and top.
    InsertKey(Arc<str>),
    /// Under the top: object. Copies a field of the top into it.
    Pick(Arc<str>),
    /// Under the top: name, object. Copies the field of that name into it.
    PickNamed,
    /// Puts texts together: those that are known and those under the top, the first uppermost.
    Concat(Box<[Option<Box<str>>]>),
    /// On top the end, in the variable the next number.
    Range(Place),
    PathBegin,
    PathEnd,
    /// `getpath`, which counts as access.
    GetPath,
    /// Root in the first variable, path in the second: takes the value out.
    TakePath(Place, Place),
    /// Sets the value on top at a path in a root, both in variables.
    PutPath(Place, Place),
    /// Sets the value of the third variable at a path of the second in the root on top.
    SetPath(Place, Place),
    /// Deletes the paths in the variable from the top.
    DeletePaths(Place),
    /// Notes in the variable how many forks there are, and forks to the address.
    FirstBegin(Place, u32),
    /// Forgets the forks since.
    FirstEnd(Place),
    Call(Box<Site>),
    TailCall(Box<Site>),
    CallParam(Place),
    TailParam(Place),
    Native(&'static Native),
    /// Operands under the top, the left one uppermost.
    Binary(Binary),
    /// Left operand under the top.
    BinaryWith(Binary, Val),
    Not,
    /// One of the variables that every program has.
    Global(u8),
    Return,
    /// A result of the program.
    Yield,
}

/// A call of a function that is known.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) function: u32,
    /// How many frames outwards it was defined; [`LIBRARY`] for one of the library's.
    pub(super) level: u16,
    pub(super) arguments: Box<[Argument]>,
}

/// The level of the library's functions, which see no frame but their own.
pub(super) const LIBRARY: u16 = u16::MAX;

#[derive(Clone, Copy, Debug)]
pub(super) enum Argument {
    /// A function in a frame so many levels outwards.
    Function { function: u32, level: u16 },
    /// A parameter of a frame, handed on.
    Param(Place),
}

#[derive(Debug)]
pub(super) struct Function {
    /// Its first operation.
    pub(super) start: u32,
    pub(super) variables: u16,
}

/// Compiled code. Addresses and numbers of functions go on from those of the library.
#[derive(Debug, Default)]
pub(super) struct Unit {
    pub(super) ops: Vec<Op>,
    pub(super) functions: Vec<Function>,
}
