//! Expressions as trees.

use regex_lite::Regex;

use crate::function::Function;
use crate::value::{Key, Value};

/// A node and what is below it.
#[derive(Debug)]
pub(crate) struct Node {
    /// Byte of the text.
    pub(crate) at: usize,
    /// Levels below it, with its own.
    pub(crate) height: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Literal(Value),
    Payload,
    /// The variable of an enclosing macro, counted from the outermost.
    Local(usize),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Select(Box<Node>, Key),
    Has(Box<Node>, Key),
    Index(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    /// All of them; an error is none if another one is false.
    And(Vec<Node>),
    /// One of them; an error is none if another one is true.
    Or(Vec<Node>),
    If(Box<[Node; 3]>),
    Binary(Operator, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
    /// The pattern is part of the text, so that its cost is known.
    Matches(Box<Node>, Regex),
    Each(Box<Each>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A macro that goes through a list, or the keys of a map.
#[derive(Debug)]
pub(crate) struct Each {
    pub(crate) what: Macro,
    pub(crate) range: Node,
    /// Of `map`: which elements count.
    pub(crate) guard: Option<Node>,
    pub(crate) body: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Macro {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
}

impl Macro {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "all" => Self::All,
            "exists" => Self::Exists,
            "exists_one" => Self::ExistsOne,
            "map" => Self::Map,
            "filter" => Self::Filter,
            _ => return None,
        })
    }
}

impl Kind {
    /// Those directly below.
    pub(crate) fn children(&self) -> Vec<&Node> {
        match self {
            Self::Literal(_) | Self::Payload | Self::Local(_) => Vec::new(),
            Self::List(nodes) | Self::And(nodes) | Self::Or(nodes) | Self::Call(_, nodes) => {
                nodes.iter().collect()
            }
            Self::Map(entries) => entries.iter().flat_map(|(k, v)| [k, v]).collect(),
            Self::Select(node, _)
            | Self::Has(node, _)
            | Self::Not(node)
            | Self::Negate(node)
            | Self::Matches(node, _) => vec![node],
            Self::Index(left, right) | Self::Binary(_, left, right) => vec![left, right],
            Self::If(nodes) => nodes.iter().collect(),
            Self::Each(each) => [&each.range, &each.body]
                .into_iter()
                .chain(&each.guard)
                .collect(),
        }
    }
}
