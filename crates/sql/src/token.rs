//! The words and symbols of SQL text, read the way PostgreSQL's scanner reads them.

use std::ops::Range;

use crate::reason::Reason;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A keyword or an unquoted identifier, in lower case.
    Word(String),
    /// A quoted identifier.
    Quoted(String),
    /// A string, as it stands between its quotes: no code.
    Text(String),
    /// A number.
    Number,
    /// `..` of a PL/pgSQL loop.
    Range,
    /// Any other character.
    Symbol(char),
}

impl Token {
    /// Whether it is this word without quotes.
    pub fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(text) if text == word)
    }

    /// The name, if it can be one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Word(text) | Self::Quoted(text) => Some(text),
            _ => None,
        }
    }
}

/// Takes text apart.
pub fn tokens(source: &str) -> Result<Vec<Token>, Reason> {
    let placed = placed(source)?;
    Ok(placed.into_iter().map(|(token, _)| token).collect())
}

/// Takes text apart, with the bytes each token has in it.
pub fn placed(source: &str) -> Result<Vec<(Token, Range<usize>)>, Reason> {
    let mut scanner = Scanner {
        rest: source,
        tokens: Vec::new(),
        after_escape_string: false,
    };
    let mut placed: Vec<(Token, Range<usize>)> = Vec::new();
    while !scanner.rest.is_empty() {
        let start = source.len() - scanner.rest.len();
        scanner.next()?;
        let end = source.len() - scanner.rest.len();
        placed.extend(scanner.tokens.drain(..).map(|token| (token, start..end)));
    }
    Ok(placed)
}

struct Scanner<'s> {
    rest: &'s str,
    /// Found since the last look: none after white space, else one.
    tokens: Vec<Token>,
    /// The last token was an `E''` string.
    after_escape_string: bool,
}

impl Scanner<'_> {
    fn next(&mut self) -> Result<(), Reason> {
        let mut chars = self.rest.chars();
        let Some(first) = chars.next() else {
            return Ok(());
        };
        let second = chars.next();
        match (first, second) {
            (c, _) if is_space(c) => self.skip(1),
            ('-', Some('-')) => {
                let end = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
                self.skip(end);
            }
            ('/', Some('*')) => self.block_comment()?,
            ('u' | 'U', Some('&')) if matches!(self.rest.as_bytes().get(2), Some(b'\'' | b'"')) => {
                return Err(Reason::Unreadable("it has unicode-escaped text (U&)"));
            }
            ('e' | 'E', Some('\'')) => {
                self.skip(2);
                self.escape_string()?;
                self.after_escape_string = true;
            }
            ('\'', _) => {
                // Two strings on two lines are one, and the second is read like the first.
                if self.after_escape_string {
                    return Err(Reason::Unreadable("a string follows an E'' string"));
                }
                self.skip(1);
                self.plain_string()?;
            }
            ('"', _) => {
                self.skip(1);
                self.quoted_identifier()?;
            }
            ('$', _) => self.dollar()?,
            ('.', Some('.')) => {
                self.skip(2);
                self.push(Token::Range);
            }
            (c, _) if is_word_start(c) => {
                let end = self
                    .rest
                    .find(|c: char| !(is_word_start(c) || c.is_ascii_digit() || c == '$'))
                    .unwrap_or(self.rest.len());
                let word = self.rest[..end].to_ascii_lowercase();
                check_length(&word)?;
                self.skip(end);
                self.push(Token::Word(word));
            }
            (c, _) if c.is_ascii_digit() => self.number(),
            (c, _) => {
                self.skip(c.len_utf8());
                self.push(Token::Symbol(c));
            }
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn push(&mut self, token: Token) {
        self.after_escape_string = false;
        self.tokens.push(token);
    }

    /// Comments nest.
    fn block_comment(&mut self) -> Result<(), Reason> {
        let mut level = 0_usize;
        loop {
            if self.rest.starts_with("/*") {
                level += 1;
                self.skip(2);
            } else if self.rest.starts_with("*/") {
                level -= 1;
                self.skip(2);
                if level == 0 {
                    return Ok(());
                }
            } else {
                let Some(c) = self.rest.chars().next() else {
                    return Err(Reason::Unreadable("a comment has no end"));
                };
                self.skip(c.len_utf8());
            }
        }
    }

    fn escape_string(&mut self) -> Result<(), Reason> {
        let whole = self.rest;
        loop {
            let Some(at) = self.rest.find(['\'', '\\']) else {
                return Err(Reason::Unreadable("a string has no end"));
            };
            let escape = self.rest.as_bytes()[at] == b'\\';
            self.skip(at + 1);
            if escape {
                let Some(c) = self.rest.chars().next() else {
                    return Err(Reason::Unreadable("a string has no end"));
                };
                self.skip(c.len_utf8());
            } else if self.rest.starts_with('\'') {
                self.skip(1);
            } else {
                let end = whole.len() - self.rest.len() - 1;
                self.push(Token::Text(whole[..end].to_owned()));
                return Ok(());
            }
        }
    }

    fn plain_string(&mut self) -> Result<(), Reason> {
        let whole = self.rest;
        loop {
            let Some(at) = self.rest.find('\'') else {
                return Err(Reason::Unreadable("a string has no end"));
            };
            // With standard_conforming_strings off the quote would not be the end.
            if self.rest[..at].ends_with('\\') {
                return Err(Reason::Unreadable(
                    "a string has a backslash before a quote",
                ));
            }
            self.skip(at + 1);
            if !self.rest.starts_with('\'') {
                let end = whole.len() - self.rest.len() - 1;
                self.push(Token::Text(whole[..end].to_owned()));
                return Ok(());
            }
            self.skip(1);
        }
    }

    fn quoted_identifier(&mut self) -> Result<(), Reason> {
        let mut name = String::new();
        loop {
            let Some(at) = self.rest.find('"') else {
                return Err(Reason::Unreadable("a quoted identifier has no end"));
            };
            name.push_str(&self.rest[..at]);
            self.skip(at + 1);
            if !self.rest.starts_with('"') {
                check_length(&name)?;
                self.push(Token::Quoted(name));
                return Ok(());
            }
            name.push('"');
            self.skip(1);
        }
    }

    /// `$tag$...$tag$`, `$1`, or a dollar sign by itself.
    fn dollar(&mut self) -> Result<(), Reason> {
        let after = &self.rest[1..];
        let tag_end = after.find(|c: char| !(is_word_start(c) || c.is_ascii_digit()));
        let starts_like_tag = !after.starts_with(|c: char| c.is_ascii_digit());
        match tag_end {
            Some(end) if starts_like_tag && after[end..].starts_with('$') => {
                let delimiter = self.rest[..end + 2].to_owned();
                self.skip(delimiter.len());
                let Some(at) = self.rest.find(&delimiter) else {
                    return Err(Reason::Unreadable("a dollar-quoted string has no end"));
                };
                let text = self.rest[..at].to_owned();
                self.skip(at + delimiter.len());
                self.push(Token::Text(text));
            }
            _ => {
                self.skip(1);
                self.push(Token::Symbol('$'));
            }
        }
        Ok(())
    }

    /// Only what is certainly part of a number: letters behind it are read as a word.
    fn number(&mut self) {
        let digits = |text: &str| {
            text.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len())
        };
        let mut end = digits(self.rest);
        let fraction = &self.rest[end..];
        if fraction.starts_with('.') && fraction[1..].starts_with(|c: char| c.is_ascii_digit()) {
            end += 1 + digits(&fraction[1..]);
        }
        self.skip(end);
        self.push(Token::Number);
    }
}

/// The server cuts names at 63 bytes, and what is left could be another name.
fn check_length(name: &str) -> Result<(), Reason> {
    if name.len() > rolegate_model::role::MAX_IDENTIFIER_BYTES {
        return Err(Reason::Unreadable("an identifier is too long"));
    }
    Ok(())
}

/// White space of PostgreSQL's scanner.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Letters, the underscore and everything outside ASCII.
fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}
