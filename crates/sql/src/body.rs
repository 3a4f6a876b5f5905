//! The check of a body.

use crate::Callee;
use crate::reason::Reason;
use crate::token::{Token, tokens};
use crate::words::{
    COMMANDS, DYNAMIC, OPENERS, SESSION, SYNTAX, TRANSACTION, is_dangerous, is_harmless_builtin,
    takes_one_value,
};

type Callees<'c> = &'c dyn Fn(Option<&str>, &str) -> Callee;

/// Whether a body of `language` may run where its role could be left.
pub fn check_body(language: &str, source: &str, callees: Callees<'_>) -> Result<(), Reason> {
    if !matches!(language, "sql" | "plpgsql") {
        return Err(Reason::Language(language.to_owned()));
    }
    let tokens = tokens(source)?;
    let body = Body {
        tokens: &tokens,
        callees,
        plpgsql: language == "plpgsql",
    };
    for index in 0..tokens.len() {
        body.word(index)?;
        body.call(index)?;
    }
    Ok(())
}

/// Whether a body is free of transaction control, in whatever language: the word is the same.
pub fn check_transactions(source: &str) -> Result<(), Reason> {
    for token in tokens(source)? {
        if let Token::Word(word) = token
            && TRANSACTION.contains(&word.as_str())
        {
            return Err(Reason::TransactionControl(word));
        }
    }
    Ok(())
}

struct Body<'t> {
    tokens: &'t [Token],
    callees: Callees<'t>,
    plpgsql: bool,
}

impl Body<'_> {
    fn at(&self, index: usize) -> Option<&Token> {
        self.tokens.get(index)
    }

    /// The token `back` places before `index`.
    fn before(&self, index: usize, back: usize) -> Option<&Token> {
        index.checked_sub(back).and_then(|at| self.tokens.get(at))
    }

    fn is_symbol(&self, index: usize, symbol: char) -> bool {
        self.at(index) == Some(&Token::Symbol(symbol))
    }

    /// Words that no body may have, and commands where a statement starts.
    fn word(&self, index: usize) -> Result<(), Reason> {
        let Some(Token::Word(word)) = self.at(index) else {
            return Ok(());
        };
        let text = word.as_str();
        if DYNAMIC.contains(&text) {
            return Err(Reason::DynamicSql(word.clone()));
        }
        if TRANSACTION.contains(&text) {
            return Err(Reason::TransactionControl(word.clone()));
        }
        let holds = text == "hold" && self.before(index, 1).is_some_and(|t| t.is_word("with"));
        // A declared cursor of SQL outlives the transaction's role if it is held; in PL/pgSQL the
        // word opens the declarations.
        let declares = text == "declare" && !self.plpgsql;
        if SESSION.contains(&text) || holds || declares {
            return Err(Reason::Command(word.clone()));
        }
        if COMMANDS.contains(&text) && self.starts_statement(index) {
            return Err(Reason::Command(word.clone()));
        }
        Ok(())
    }

    fn starts_statement(&self, index: usize) -> bool {
        match self.before(index, 1) {
            None | Some(Token::Symbol(';')) => true,
            Some(Token::Word(word)) => OPENERS.contains(&word.as_str()),
            // The end of a label.
            Some(Token::Symbol('>')) => self.before(index, 2) == Some(&Token::Symbol('>')),
            _ => false,
        }
    }

    /// A name before a parenthesis, or behind a point, where it can be a function too.
    fn call(&self, index: usize) -> Result<(), Reason> {
        let Some(name) = self.at(index).and_then(Token::name) else {
            return Ok(());
        };
        let qualified = index > 0 && self.is_symbol(index - 1, '.');
        if !self.is_symbol(index + 1, '(') {
            return if qualified {
                self.attribute(name)
            } else {
                Ok(())
            };
        }
        let schema = if qualified {
            self.before(index, 2).and_then(Token::name)
        } else {
            None
        };
        let start = if qualified {
            index.saturating_sub(2)
        } else {
            index
        };
        // `treat(x as f)` is a call of f.
        let treats = self.at(index).is_some_and(|token| token.is_word("treat"));
        if treats || is_dangerous(name) {
            return Err(Reason::DangerousFunction(name.to_owned()));
        }
        // `database.schema.function`, or an expression in front of the point.
        if qualified && (schema.is_none() || (start > 0 && self.is_symbol(start - 1, '.'))) {
            return Err(Reason::UnknownFunction(name.to_owned()));
        }
        let is_word = matches!(self.at(index), Some(Token::Word(_)));
        if !qualified && is_word && SYNTAX.contains(&name) {
            return self.syntax(index, name);
        }
        if self.is_not_called(start, index) {
            return self.attribute(name);
        }
        let callee = (self.callees)(schema, name);
        match (schema, callee) {
            (_, Callee::Unsafe) => Err(Reason::UnsafeFunction(name.to_owned())),
            (Some("pg_catalog"), _) | (None, Callee::Unknown) if is_harmless_builtin(name) => {
                Ok(())
            }
            (Some("pg_catalog"), _) | (_, Callee::Unknown) => {
                Err(Reason::UnknownFunction(name.to_owned()))
            }
            (_, Callee::Safe) => Ok(()),
        }
    }

    /// `row.name` and `(value).name` are calls of `name(value)` if there is no such column.
    fn attribute(&self, name: &str) -> Result<(), Reason> {
        if is_dangerous(name) {
            return Err(Reason::DangerousFunction(name.to_owned()));
        }
        if takes_one_value(name) {
            return Err(Reason::UnknownFunction(name.to_owned()));
        }
        match (self.callees)(None, name) {
            Callee::Unsafe => Err(Reason::UnsafeFunction(name.to_owned())),
            Callee::Safe | Callee::Unknown => Ok(()),
        }
    }

    /// A word of the grammar before a parenthesis.
    fn syntax(&self, index: usize, word: &str) -> Result<(), Reason> {
        if word == "operator"
            && let Some(schema) = self.at(index + 2).and_then(Token::name)
            && schema != "pg_catalog"
        {
            return Err(Reason::Operator(schema.to_owned()));
        }
        self.attribute(word)
    }

    /// Names before a parenthesis that are no calls: tables with columns, aliases, common table
    /// expressions, cursors. `start` is where the name with its schema begins, `last` its end.
    fn is_not_called(&self, start: usize, last: usize) -> bool {
        let Some(previous) = self.before(start, 1) else {
            return false;
        };
        let second = self.before(start, 2);
        match previous {
            Token::Word(word) => match word.as_str() {
                "as" | "with" | "open" | "ordinality" => true,
                "into" => second.is_some_and(|token| token.is_word("insert")),
                "recursive" => second.is_some_and(|token| token.is_word("with")),
                _ => false,
            },
            // An alias of a subquery or of a function in FROM. Behind `distinct on (...)` and
            // `operator(...)` it would be an expression.
            Token::Symbol(')') => !self.expression_follows(start - 1),
            Token::Symbol(',') => self.is_common_table(last + 1),
            _ => false,
        }
    }

    /// Whether the parenthesis closes `distinct on (...)` or `operator(...)`.
    fn expression_follows(&self, close: usize) -> bool {
        let mut depth = 0_usize;
        for index in (0..=close).rev() {
            match self.tokens[index] {
                Token::Symbol(')') => depth += 1,
                Token::Symbol('(') => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        let is = |back: usize, word: &str| {
                            let token = self.before(index, back);
                            token.is_some_and(|token| token.is_word(word))
                        };
                        return is(1, "operator") || (is(1, "on") && is(2, "distinct"));
                    }
                }
                _ => {}
            }
        }
        // Unbalanced: not certain.
        true
    }

    /// Whether the parenthesis at `open` is the column list of a common table expression: what
    /// follows its end is `as (select` or `as (with`. A column definition list (`f() as (a int)`)
    /// can't begin with these reserved words.
    fn is_common_table(&self, open: usize) -> bool {
        let mut depth = 0_usize;
        for index in open..self.tokens.len() {
            match self.tokens[index] {
                Token::Symbol('(') => depth += 1,
                Token::Symbol(')') => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        let follows = |offset: usize, word: &str| {
                            self.at(index + offset)
                                .is_some_and(|token| token.is_word(word))
                        };
                        return follows(1, "as")
                            && self.is_symbol(index + 2, '(')
                            && (follows(3, "select") || follows(3, "with"));
                    }
                }
                _ => {}
            }
        }
        false
    }
}
