//! A function as its author would write it, for messages and documents.

use rolegate_pg::catalog::{ArgumentMode, Function, FunctionKind, Snapshot};

use crate::kind::display_name;

/// `api.add(a integer, b integer default ..., variadic rest text[]) returns integer`.
pub fn signature(snapshot: &Snapshot, function: &Function) -> String {
    let types = snapshot.types();
    let arguments: Vec<String> = function
        .arguments
        .iter()
        .map(|argument| {
            let mut text = String::from(match argument.mode {
                ArgumentMode::In => "",
                ArgumentMode::InOut => "inout ",
                ArgumentMode::Variadic => "variadic ",
                ArgumentMode::Out => "out ",
            });
            if let Some(name) = &argument.name {
                text.push_str(name);
                text.push(' ');
            }
            text.push_str(display_name(types, argument.type_oid));
            if argument.has_default {
                text.push_str(" default ...");
            }
            text
        })
        .collect();
    let mut text = format!("{}({})", function.method(), arguments.join(", "));
    if function.kind == FunctionKind::Procedure {
        return text;
    }
    text.push_str(" returns ");
    if function.returns.set {
        text.push_str("setof ");
    }
    text.push_str(display_name(types, function.returns.type_oid));
    text
}
