//! Functions, methods and macros.

use regex_lite::RegexBuilder;

use super::{Parsed, Parser, not_reserved};
use crate::function::{Arity, Function};
use crate::lex::{Token, Wrong};
use crate::node::{Each, Kind, Macro, Node};
use crate::value::Value;

/// Macros within each other.
const MAX_NESTED: usize = 3;
/// Bytes of a pattern, and of the program that it becomes.
const MAX_PATTERN: usize = 256;
const MAX_PATTERN_PROGRAM: usize = 16 * 1024;

impl Parser {
    pub(super) fn method(&mut self, at: usize, target: Node, name: &str) -> Parsed {
        if let Some(what) = Macro::named(name) {
            return self.each(at, what, target);
        }
        if name == "matches" {
            let pattern = self.arguments()?;
            return self.matches(at, std::iter::once(target).chain(pattern).collect());
        }
        let function = Function::method(name).ok_or_else(|| no_function(at, name))?;
        let arguments = self.arguments()?;
        let all = std::iter::once(target).chain(arguments).collect();
        self.call(at, name, function, all)
    }

    /// Up to the closing parenthesis.
    fn arguments(&mut self) -> Result<Vec<Node>, Wrong> {
        let mut arguments = Vec::new();
        while !self.takes(")") {
            if !arguments.is_empty() {
                self.expects(",")?;
            }
            arguments.push(self.expression()?);
        }
        Ok(arguments)
    }

    fn call(&mut self, at: usize, name: &str, function: Function, all: Vec<Node>) -> Parsed {
        let Arity(expected) = function.arity();
        if all.len() != expected {
            let what = format!("`{name}` does not take this number of arguments");
            return Err(Wrong::new(at, what));
        }
        self.node(at, Kind::Call(function, all))
    }

    fn matches(&mut self, at: usize, all: Vec<Node>) -> Parsed {
        let Ok([text, pattern]) = <[Node; 2]>::try_from(all) else {
            return Err(Wrong::new(at, "`matches` takes a text and a pattern"));
        };
        let Kind::Literal(Value::String(source)) = &pattern.kind else {
            return Err(Wrong::new(
                pattern.at,
                "the pattern of `matches` has to be written out, as a text",
            ));
        };
        if source.len() > MAX_PATTERN {
            let what = format!("a pattern has at most {MAX_PATTERN} bytes");
            return Err(Wrong::new(pattern.at, what));
        }
        let regex = RegexBuilder::new(source)
            .size_limit(MAX_PATTERN_PROGRAM)
            .build()
            .map_err(|error| {
                Wrong::new(
                    pattern.at,
                    format!("this is no pattern that can be used: {error}"),
                )
            })?;
        self.node(at, Kind::Matches(Box::new(text), regex))
    }

    fn each(&mut self, at: usize, what: Macro, range: Node) -> Parsed {
        if self.locals.len() >= MAX_NESTED {
            let what = format!("more than {MAX_NESTED} macros are within each other");
            return Err(Wrong::new(at, what));
        }
        let Token::Name(name) = self.peek().clone() else {
            return Err(self.unexpected("the name of a variable"));
        };
        not_reserved(self.at(), &name)?;
        self.next += 1;
        self.locals.push(name);
        self.expects(",")?;
        let mut body = self.expression()?;
        let mut guard = None;
        if what == Macro::Map && self.takes(",") {
            guard = Some(std::mem::replace(&mut body, self.expression()?));
        }
        self.expects(")")?;
        self.locals.pop();
        let each = Each {
            what,
            range,
            guard,
            body,
        };
        self.node(at, Kind::Each(Box::new(each)))
    }

    pub(super) fn function(&mut self, at: usize, name: &str) -> Parsed {
        let mut arguments = self.arguments()?;
        match name {
            "matches" => self.matches(at, arguments),
            "has" => match arguments.pop().map(|node| node.kind) {
                Some(Kind::Select(operand, key)) if arguments.is_empty() => {
                    self.node(at, Kind::Has(operand, key))
                }
                _ => Err(Wrong::new(
                    at,
                    "`has` takes a selection, such as `payload.status`",
                )),
            },
            _ => {
                let function = Function::global(name).ok_or_else(|| no_function(at, name))?;
                self.call(at, name, function, arguments)
            }
        }
    }
}

fn no_function(at: usize, name: &str) -> Wrong {
    Wrong::new(at, format!("there is no function `{name}` here"))
}
