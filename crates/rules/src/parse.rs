//! Tokens to a tree.

mod calls;

use std::sync::Arc;

use crate::lex::{Token, Wrong, tokens};
use crate::node::{Kind, Node, Operator};
use crate::value::{Key, Type, Value};

/// Nodes of an expression.
const MAX_NODES: usize = 500;
/// Levels of an expression. Nothing recurses deeper, while reading and while evaluating.
const MAX_DEPTH: usize = 48;
/// Names that CEL keeps for itself.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

type Parsed = Result<Node, Wrong>;

/// The whole text as one expression.
pub(crate) fn parse(text: &str) -> Parsed {
    let mut parser = Parser {
        tokens: tokens(text)?,
        next: 0,
        nodes: 0,
        depth: 0,
        locals: Vec::new(),
    };
    let node = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(node),
        _ => Err(parser.unexpected("the end of the expression")),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    nodes: usize,
    depth: usize,
    /// Variables of the macros around, the innermost last.
    locals: Vec<String>,
}

/// How tightly operators bind.
const OR: u8 = 0;
const AND: u8 = 1;
const RELATION: u8 = 2;

fn operator(token: &Token) -> Option<(u8, Option<Operator>)> {
    let sign = match token {
        Token::Sign(sign) => *sign,
        Token::Name(name) if name == "in" => "in",
        _ => return None,
    };
    Some(match sign {
        "||" => (OR, None),
        "&&" => (AND, None),
        "==" => (RELATION, Some(Operator::Equal)),
        "!=" => (RELATION, Some(Operator::NotEqual)),
        "<" => (RELATION, Some(Operator::Less)),
        "<=" => (RELATION, Some(Operator::LessOrEqual)),
        ">" => (RELATION, Some(Operator::Greater)),
        ">=" => (RELATION, Some(Operator::GreaterOrEqual)),
        "in" => (RELATION, Some(Operator::In)),
        "+" => (3, Some(Operator::Add)),
        "-" => (3, Some(Operator::Subtract)),
        "*" => (4, Some(Operator::Multiply)),
        "/" => (4, Some(Operator::Divide)),
        "%" => (4, Some(Operator::Remainder)),
        _ => return None,
    })
}

impl Parser {
    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(0, |(at, _)| *at)
    }

    fn peek(&self) -> &Token {
        self.tokens
            .get(self.next)
            .map_or(&Token::End, |(_, token)| token)
    }

    fn sees(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let sees = self.sees(sign);
        self.next += usize::from(sees);
        sees
    }

    fn expects(&mut self, sign: &str) -> Result<(), Wrong> {
        if self.takes(sign) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{sign}`")))
        }
    }

    fn unexpected(&self, expected: &str) -> Wrong {
        let found = match self.peek() {
            Token::End => "the end of the expression".to_owned(),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::Name(name) => format!("`{name}`"),
            Token::Int(_) | Token::Double(_) => "a number".to_owned(),
            Token::String(_) => "a text".to_owned(),
        };
        Wrong::new(
            self.at(),
            format!("found {found} where {expected} was expected"),
        )
    }

    fn node(&mut self, at: usize, kind: Kind) -> Parsed {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let what = format!("the expression has more than {MAX_NODES} parts");
            return Err(Wrong::new(at, what));
        }
        let below = kind.children().iter().map(|node| node.height).max();
        let height = below.unwrap_or(0) + 1;
        if height > MAX_DEPTH {
            return Err(too_deep(at));
        }
        Ok(Node { at, height, kind })
    }

    fn expression(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(self.at()));
        }
        let mut node = self.binary(OR)?;
        let at = self.at();
        if self.takes("?") {
            let then = self.binary(OR)?;
            self.expects(":")?;
            let otherwise = self.expression()?;
            node = self.node(at, Kind::If(Box::new([node, then, otherwise])))?;
        }
        self.depth -= 1;
        Ok(node)
    }

    fn binary(&mut self, least: u8) -> Parsed {
        let mut left = self.unary()?;
        loop {
            let Some((binds, operator)) =
                operator(self.peek()).filter(|(binds, _)| *binds >= least)
            else {
                return Ok(left);
            };
            let at = self.at();
            self.next += 1;
            let right = self.binary(binds + 1)?;
            let kind = match (operator, left.kind) {
                (Some(operator), kind) => {
                    left.kind = kind;
                    Kind::Binary(operator, Box::new(left), Box::new(right))
                }
                // A row of them is one node, whatever its length.
                (None, Kind::And(mut all)) if binds == AND => {
                    all.push(right);
                    Kind::And(all)
                }
                (None, Kind::Or(mut any)) if binds == OR => {
                    any.push(right);
                    Kind::Or(any)
                }
                (None, kind) => {
                    left.kind = kind;
                    let both = vec![left, right];
                    if binds == AND {
                        Kind::And(both)
                    } else {
                        Kind::Or(both)
                    }
                }
            };
            left = self.node(at, kind)?;
        }
    }

    fn unary(&mut self) -> Parsed {
        let mut signs = Vec::new();
        let sign = if self.sees("!") { "!" } else { "-" };
        while self.sees(sign) {
            signs.push(self.at());
            self.next += 1;
        }
        // The sign of a number belongs to it: the least whole number has no positive one.
        let mut node = match (sign, signs.last().copied(), self.peek().clone()) {
            ("-", Some(at), Token::Int(digits)) => {
                signs.pop();
                self.next += 1;
                let value = 0_i64.checked_sub_unsigned(digits);
                let value = value.ok_or_else(|| Wrong::new(at, "this number is too large"))?;
                let literal = self.node(at, Kind::Literal(Value::Int(value)))?;
                self.member(literal)?
            }
            ("-", Some(at), Token::Double(value)) => {
                signs.pop();
                self.next += 1;
                let literal = self.node(at, Kind::Literal((-value).into()))?;
                self.member(literal)?
            }
            _ => {
                let primary = self.primary()?;
                self.member(primary)?
            }
        };
        for at in signs.into_iter().rev() {
            let inner = Box::new(node);
            let kind = if sign == "!" {
                Kind::Not(inner)
            } else {
                Kind::Negate(inner)
            };
            node = self.node(at, kind)?;
        }
        Ok(node)
    }

    /// What is selected from it, looked up in it, called on it.
    fn member(&mut self, mut node: Node) -> Parsed {
        loop {
            let at = self.at();
            if self.takes("[") {
                if self.sees("?") {
                    return Err(no_optionals(at));
                }
                let index = self.expression()?;
                self.expects("]")?;
                node = self.node(at, Kind::Index(Box::new(node), Box::new(index)))?;
            } else if self.takes(".") {
                if self.sees("?") {
                    return Err(no_optionals(at));
                }
                let Token::Name(name) = self.peek().clone() else {
                    return Err(self.unexpected("a name"));
                };
                let at = self.at();
                self.next += 1;
                node = if self.takes("(") {
                    self.method(at, node, &name)?
                } else {
                    not_reserved(at, &name)?;
                    let key = Key::String(Arc::from(name));
                    self.node(at, Kind::Select(Box::new(node), key))?
                };
            } else {
                return Ok(node);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at();
        let token = self.peek().clone();
        self.next += 1;
        match token {
            Token::Int(digits) => {
                let value = i64::try_from(digits);
                let value = value.map_err(|_| Wrong::new(at, "this number is too large"))?;
                self.node(at, Kind::Literal(Value::Int(value)))
            }
            Token::Double(value) => self.node(at, Kind::Literal(value.into())),
            Token::String(text) => self.node(at, Kind::Literal(Value::from(&*text))),
            Token::Name(name) => self.name(at, &name),
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.expects(")")?;
                Ok(inner)
            }
            Token::Sign("[") => {
                let mut elements = Vec::new();
                while !self.takes("]") {
                    if self.sees("?") {
                        return Err(no_optionals(self.at()));
                    }
                    elements.push(self.expression()?);
                    if !self.sees("]") {
                        self.expects(",")?;
                    }
                }
                self.node(at, Kind::List(elements))
            }
            Token::Sign("{") => self.map(at),
            Token::Sign(_) | Token::End => {
                self.next -= 1;
                Err(self.unexpected("a value"))
            }
        }
    }

    fn map(&mut self, at: usize) -> Parsed {
        let mut entries = Vec::new();
        while !self.takes("}") {
            if self.sees("?") {
                return Err(no_optionals(self.at()));
            }
            let key = self.expression()?;
            self.expects(":")?;
            entries.push((key, self.expression()?));
            if !self.sees("}") {
                self.expects(",")?;
            }
        }
        self.node(at, Kind::Map(entries))
    }

    fn name(&mut self, at: usize, name: &str) -> Parsed {
        let literal = match name {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "null" => Some(Value::Null),
            _ => None,
        };
        if let Some(value) = literal {
            return self.node(at, Kind::Literal(value));
        }
        not_reserved(at, name)?;
        if self.takes("(") {
            return self.function(at, name);
        }
        let kind = match self.locals.iter().rposition(|local| local == name) {
            Some(nth) => Kind::Local(nth),
            None if name == "payload" => Kind::Payload,
            None => {
                let named = Type::named(name).ok_or_else(|| {
                    let what = format!("there is no variable `{name}`; there is `payload`");
                    Wrong::new(at, what)
                })?;
                Kind::Literal(Value::Type(named))
            }
        };
        self.node(at, kind)
    }
}

fn not_reserved(at: usize, name: &str) -> Result<(), Wrong> {
    let literal = matches!(name, "true" | "false" | "null");
    if literal || RESERVED.contains(&name) {
        return Err(Wrong::new(at, format!("`{name}` can't be a name")));
    }
    Ok(())
}

fn too_deep(at: usize) -> Wrong {
    Wrong::new(
        at,
        format!("the expression is deeper than {MAX_DEPTH} levels"),
    )
}

fn no_optionals(at: usize) -> Wrong {
    Wrong::new(at, "there are no optional values here; ask with `has`")
}
