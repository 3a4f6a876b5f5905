//! A tree and a payload to a value.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compute::{binary, find, index};
use crate::fault::{Budget, Fault, Reason};
use crate::node::{Each, Kind, Macro, Node};
use crate::value::{Key, Value};

/// Steps for each byte that a pattern is looked for in. Its program may be of some hundred instructions,
/// each of which may be tried at each byte.
const STEPS_PER_MATCHED_BYTE: usize = 32;
/// Keys of a map of some hundred that a new one is compared with: three nodes of the tree.
const MOST_COMPARED: usize = 33;

/// One evaluation.
pub(crate) struct Evaluation<'a> {
    payload: &'a Value,
    budget: &'a mut Budget,
    /// Of the macros around, the innermost last.
    locals: Vec<Value>,
}

type Evaluated = Result<Value, Fault>;

impl<'a> Evaluation<'a> {
    pub(crate) fn new(payload: &'a Value, budget: &'a mut Budget) -> Self {
        Self {
            payload,
            budget,
            locals: Vec::new(),
        }
    }

    pub(crate) fn value(&mut self, node: &Node) -> Evaluated {
        let fault = |reason| Fault {
            reason,
            at: node.at,
        };
        self.budget.charge(1).map_err(fault)?;
        match &node.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Payload => Ok(self.payload.clone()),
            // Where it is comes from the parser, which has counted.
            Kind::Local(nth) => {
                let local = self.locals.get(*nth).cloned();
                local.ok_or(fault(Reason::WrongType))
            }
            Kind::List(nodes) => {
                let values: Result<Vec<_>, _> = nodes.iter().map(|node| self.value(node)).collect();
                Ok(values?.into())
            }
            Kind::Map(entries) => self.map(entries),
            Kind::Select(of, key) => match self.value(of)? {
                Value::Map(entries) => {
                    let found = find(&entries, key, self.budget).map_err(fault)?;
                    found.cloned().ok_or(fault(Reason::NoSuchKey))
                }
                _ => Err(fault(Reason::WrongType)),
            },
            Kind::Has(of, key) => match self.value(of)? {
                Value::Map(entries) => {
                    let found = find(&entries, key, self.budget).map_err(fault)?;
                    Ok(Value::Bool(found.is_some()))
                }
                _ => Err(fault(Reason::WrongType)),
            },
            Kind::Index(of, by) => {
                let of = self.value(of)?;
                let by = self.value(by)?;
                index(&of, &by, self.budget).map_err(fault)
            }
            Kind::Not(inner) => match self.value(inner)? {
                Value::Bool(value) => Ok(Value::Bool(!value)),
                _ => Err(fault(Reason::WrongType)),
            },
            Kind::Negate(inner) => match self.value(inner)? {
                Value::Int(int) => int
                    .checked_neg()
                    .map(Value::Int)
                    .ok_or(fault(Reason::Overflow)),
                Value::Double(double) => Ok((-double.value).into()),
                _ => Err(fault(Reason::WrongType)),
            },
            Kind::And(nodes) => self.decide(nodes, false),
            Kind::Or(nodes) => self.decide(nodes, true),
            Kind::If(parts) => {
                let [condition, then, otherwise] = &**parts;
                let branch = if self.boolean(condition)? {
                    then
                } else {
                    otherwise
                };
                self.value(branch)
            }
            Kind::Binary(operator, left, right) => {
                let left = self.value(left)?;
                let right = self.value(right)?;
                binary(*operator, &left, &right, self.budget).map_err(fault)
            }
            Kind::Call(function, nodes) => {
                let arguments: Result<Vec<_>, _> =
                    nodes.iter().map(|node| self.value(node)).collect();
                function.call(&arguments?, self.budget).map_err(fault)
            }
            Kind::Matches(text, regex) => match self.value(text)? {
                Value::String(text) => {
                    let steps = text.len().saturating_mul(STEPS_PER_MATCHED_BYTE);
                    self.budget.charge(steps).map_err(fault)?;
                    Ok(Value::Bool(regex.is_match(&text)))
                }
                _ => Err(fault(Reason::WrongType)),
            },
            Kind::Each(each) => self.each(node.at, each),
        }
    }

    pub(crate) fn boolean(&mut self, node: &Node) -> Result<bool, Fault> {
        match self.value(node)? {
            Value::Bool(value) => Ok(value),
            _ => Err(Fault {
                reason: Reason::NotBoolean,
                at: node.at,
            }),
        }
    }

    fn map(&mut self, entries: &[(Node, Node)]) -> Evaluated {
        let mut map = BTreeMap::new();
        for (key_node, value_node) in entries {
            let fault = |reason| Fault {
                reason,
                at: key_node.at,
            };
            let key = self.value(key_node)?.new_key();
            let key = key.ok_or(fault(Reason::WrongType))?;
            if let Key::String(text) = &key {
                // It is compared with some of those that are there.
                let bytes = text.len().saturating_mul(map.len().min(MOST_COMPARED));
                self.budget.charge_text(bytes).map_err(fault)?;
            }
            let value = self.value(value_node)?;
            if map.insert(key, value).is_some() {
                return Err(fault(Reason::DuplicateKey));
            }
        }
        Ok(Value::Map(Arc::new(map)))
    }

    /// One that is `decisive` decides, in spite of errors in others.
    fn decide(&mut self, nodes: &[Node], decisive: bool) -> Evaluated {
        let mut doubt = Doubt::default();
        for node in nodes {
            if doubt.absorb(self.boolean(node))? == Some(decisive) {
                return Ok(Value::Bool(decisive));
            }
        }
        doubt.end(Value::Bool(!decisive))
    }

    fn each(&mut self, at: usize, each: &Each) -> Evaluated {
        let range = self.value(&each.range)?;
        let elements = match range {
            Value::List(values) => values,
            Value::Map(entries) => {
                let charged = self.budget.charge(entries.len());
                charged.map_err(|reason| Fault { reason, at })?;
                Arc::new(entries.keys().map(Value::from).collect())
            }
            _ => {
                let reason = Reason::WrongType;
                let at = each.range.at;
                return Err(Fault { reason, at });
            }
        };
        let mut doubt = Doubt::default();
        let mut found = 0_u64;
        let mut kept = Vec::new();
        for element in elements.iter() {
            let charged = self.budget.charge(1);
            charged.map_err(|reason| Fault { reason, at })?;
            self.locals.push(element.clone());
            let step = self.step(each, element, &mut doubt, &mut found, &mut kept);
            self.locals.pop();
            if let Some(decided) = step? {
                return Ok(Value::Bool(decided));
            }
        }
        match each.what {
            Macro::All => doubt.end(Value::Bool(true)),
            Macro::Exists => doubt.end(Value::Bool(false)),
            Macro::ExistsOne => Ok(Value::Bool(found == 1)),
            Macro::Map | Macro::Filter => Ok(kept.into()),
        }
    }

    /// One element; what is decided already.
    fn step(
        &mut self,
        each: &Each,
        element: &Value,
        doubt: &mut Doubt,
        found: &mut u64,
        kept: &mut Vec<Value>,
    ) -> Result<Option<bool>, Fault> {
        let decisive = each.what == Macro::Exists;
        match each.what {
            Macro::All | Macro::Exists => {
                let value = doubt.absorb(self.boolean(&each.body))?;
                return Ok((value == Some(decisive)).then_some(decisive));
            }
            Macro::ExistsOne => *found += u64::from(self.boolean(&each.body)?),
            Macro::Filter => {
                if self.boolean(&each.body)? {
                    kept.push(element.clone());
                }
            }
            Macro::Map => {
                let counts = match &each.guard {
                    Some(guard) => self.boolean(guard)?,
                    None => true,
                };
                if counts {
                    kept.push(self.value(&each.body)?);
                }
            }
        }
        Ok(None)
    }
}

/// The first error that something else may make up for.
#[derive(Default)]
struct Doubt(Option<Fault>);

impl Doubt {
    fn absorb(&mut self, value: Result<bool, Fault>) -> Result<Option<bool>, Fault> {
        match value {
            Ok(value) => Ok(Some(value)),
            Err(fault) if fault.reason.is_final() => Err(fault),
            Err(fault) => {
                self.0.get_or_insert(fault);
                Ok(None)
            }
        }
    }

    fn end(self, value: Value) -> Evaluated {
        self.0.map_or(Ok(value), Err)
    }
}
