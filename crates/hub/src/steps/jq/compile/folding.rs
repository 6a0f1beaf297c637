//! Values that are known when a program is compiled.

use super::super::arithmetic;
use super::super::ast::{Ast, Key};
use super::super::value::{Map, Val};

/// The value of an expression that is known when it is compiled.
pub(super) fn folded(ast: &Ast) -> Option<Val> {
    match ast {
        Ast::Const(value) => Some(value.clone()),
        Ast::List(None) => Some(Val::list(Vec::new())),
        Ast::List(Some(inner)) => folded_list(inner).map(Val::list),
        Ast::Map(fields) => folded_map(fields),
        Ast::Binary(operator, left, right) => match (folded(left)?, folded(right)?) {
            (left @ (Val::Num(_) | Val::Dec(_)), right @ (Val::Num(_) | Val::Dec(_))) => {
                arithmetic::of_numbers(*operator, &left, &right)
            }
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn folded_list(inner: &Ast) -> Option<Vec<Val>> {
    let mut items = Vec::new();
    let mut here = inner;
    while let Ast::Comma(left, right) = here {
        items.push(folded(right)?);
        here = left;
    }
    items.push(folded(here)?);
    items.reverse();
    Some(items)
}

pub(super) fn folded_map(fields: &[(Key, Ast)]) -> Option<Val> {
    let fields = fields.iter().map(|(key, value)| match key {
        Key::Name(name) => Some((name.clone().into(), folded(value)?)),
        Key::Computed(_) | Key::Same(_) => None,
    });
    fields.collect::<Option<Map>>().map(Val::map)
}
