//! Text to tokens.

/// What is wrong, and at which byte.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) at: usize,
    pub(crate) what: String,
}

impl Wrong {
    pub(crate) fn new(at: usize, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { at, what }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// Its sign is a token of its own.
    Int(u64),
    Double(f64),
    String(String),
    Name(String),
    Sign(&'static str),
    End,
}

/// The longer ones first.
const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "?", ":", "(", ")", "[", "]", "{", "}", ".",
    ",", "+", "-", "*", "/", "%",
];

/// The tokens with their bytes; the last one is the end.
pub(crate) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Wrong> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank();
        let at = lexer.at;
        let token = lexer.token()?;
        let ended = token == Token::End;
        tokens.push((at, token));
        if ended {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let skipped = if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else {
                let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n' | '\u{c}');
                rest.len() - rest.trim_start_matches(blank).len()
            };
            if skipped == 0 {
                return;
            }
            self.at += skipped;
        }
    }

    /// As many as these, taken.
    fn take_while(&mut self, which: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !which(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn token(&mut self) -> Result<Token, Wrong> {
        let Some(first) = self.peek() else {
            return Ok(Token::End);
        };
        let second = self.rest().chars().nth(1);
        if first.is_ascii_digit() || first == '.' && second.is_some_and(|c| c.is_ascii_digit()) {
            return self.number();
        }
        if let Some(raw) = self.string_prefix() {
            return self.string(raw);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
            return Ok(Token::Name(name.to_owned()));
        }
        let sign = SIGNS.iter().find(|sign| self.rest().starts_with(**sign));
        let Some(sign) = sign else {
            return Err(Wrong::new(self.at, format!("`{first}` means nothing here")));
        };
        self.at += sign.len();
        Ok(Token::Sign(sign))
    }

    fn number(&mut self) -> Result<Token, Wrong> {
        let at = self.at;
        let hex = self.rest().strip_prefix("0x").is_some();
        let token = if hex {
            self.at += 2;
            let digits = self.take_while(|c| c.is_ascii_hexdigit());
            u64::from_str_radix(digits, 16).ok().map(Token::Int)
        } else {
            self.take_while(|c| c.is_ascii_digit());
            let mut double = false;
            let mut ahead = self.rest().chars();
            if ahead.next() == Some('.') && ahead.next().is_some_and(|c| c.is_ascii_digit()) {
                self.at += 1;
                self.take_while(|c| c.is_ascii_digit());
                double = true;
            }
            if let Some(exponent) = self.rest().strip_prefix(['e', 'E']) {
                let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                if unsigned.starts_with(|c: char| c.is_ascii_digit()) {
                    self.at = self.text.len() - unsigned.len();
                    self.take_while(|c| c.is_ascii_digit());
                    double = true;
                }
            }
            let text = self.text.get(at..self.at).unwrap_or_default();
            if double {
                let value = text.parse().ok().filter(|value: &f64| value.is_finite());
                value.map(Token::Double)
            } else {
                text.parse().ok().map(Token::Int)
            }
        };
        if matches!(self.peek(), Some('u' | 'U')) {
            return Err(Wrong::new(
                at,
                "there are no unsigned numbers here; leave the `u` out",
            ));
        }
        if self
            .peek()
            .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            return Err(Wrong::new(at, "this is no number"));
        }
        token.ok_or_else(|| Wrong::new(at, "this number is too large"))
    }

    /// Whether there is a string, and then whether it is raw.
    fn string_prefix(&self) -> Option<bool> {
        let quoted = |text: &str| text.starts_with(['"', '\'']);
        let rest = self.rest();
        if quoted(rest) {
            return Some(false);
        }
        rest.strip_prefix(['r', 'R'])
            .is_some_and(quoted)
            .then_some(true)
    }

    fn string(&mut self, raw: bool) -> Result<Token, Wrong> {
        let start = self.at;
        self.at += usize::from(raw);
        let quote = if self.rest().starts_with('"') {
            "\""
        } else {
            "'"
        };
        let triple = quote.repeat(3);
        let end = if self.rest().starts_with(&triple) {
            &triple
        } else {
            quote
        };
        self.at += end.len();
        let mut text = String::new();
        loop {
            if self.rest().starts_with(end) {
                self.at += end.len();
                return Ok(Token::String(text));
            }
            let Some(next) = self.peek() else {
                return Err(Wrong::new(start, "this text does not end"));
            };
            if end.len() == 1 && matches!(next, '\n' | '\r') {
                return Err(Wrong::new(start, "this text does not end on its line"));
            }
            if next == '\\' && !raw {
                text.push(self.escape()?);
            } else {
                self.at += next.len_utf8();
                text.push(next);
            }
        }
    }

    /// What a backslash stands for.
    fn escape(&mut self) -> Result<char, Wrong> {
        let at = self.at;
        let wrong = || Wrong::new(at, "this is no escape of CEL's");
        self.at += 1;
        let letter = self.peek().ok_or_else(wrong)?;
        let (radix, digits) = match letter {
            'x' | 'X' => (16, 2),
            'u' => (16, 4),
            'U' => (16, 8),
            '0'..='3' => (8, 3),
            _ => {
                self.at += letter.len_utf8();
                return Ok(match letter {
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\u{b}',
                    '\\' | '?' | '"' | '\'' | '`' => letter,
                    _ => return Err(wrong()),
                });
            }
        };
        self.at += usize::from(radix == 16);
        let code = self.rest().get(..digits).ok_or_else(wrong)?;
        if !code.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        self.at += digits;
        let code = u32::from_str_radix(code, radix).map_err(|_| wrong())?;
        char::from_u32(code).ok_or_else(wrong)
    }
}
