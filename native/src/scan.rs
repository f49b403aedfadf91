//! JSON from front to back, strictly after RFC 8259: what is skipped is checked like what is kept.

use crate::Refusal;

const NO_JSON: Refusal = "not JSON";
const DEPTH: usize = 64;

/// The unread part of one JSON text. Every step takes from its front or refuses.
pub struct Scan<'a> {
    text: &'a str,
    at: usize,
}

/// A number as it stands in the text.
pub struct Number<'a> {
    pub text: &'a str,
    pub is_integer: bool,
}

impl<'a> Scan<'a> {
    pub fn new(value: &'a [u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(value).map_err(|_| "not UTF-8")?;
        Ok(Self { text, at: 0 })
    }

    /// The first byte of the next token.
    pub fn peek(&mut self) -> Result<u8, Refusal> {
        loop {
            match self.byte(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(byte) => return Ok(byte),
                None => return Err("the value ends too early"),
            }
        }
    }

    pub fn finish(&mut self) -> Result<(), Refusal> {
        match self.peek() {
            Ok(_) => Err("spare bytes after the value"),
            Err(_) => Ok(()),
        }
    }

    /// Takes a token's first byte, where it is this one.
    pub fn take(&mut self, byte: u8) -> Result<bool, Refusal> {
        let is_next = self.peek()? == byte;
        self.at += usize::from(is_next);
        Ok(is_next)
    }

    pub fn literal(&mut self, word: &str) -> Result<(), Refusal> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(NO_JSON);
        }
        self.at += word.len();
        Ok(())
    }

    /// Whether an object goes on: takes what stands before its next key, or its end.
    pub fn next_field(&mut self, is_first: bool) -> Result<bool, Refusal> {
        match self.peek()? {
            b'}' => {
                self.at += 1;
                Ok(false)
            }
            _ if is_first => Ok(true),
            b',' => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(NO_JSON),
        }
    }

    /// The same for an array.
    pub fn next_item(&mut self, is_first: bool) -> Result<bool, Refusal> {
        match self.peek()? {
            b']' => {
                self.at += 1;
                Ok(false)
            }
            _ if is_first => Ok(true),
            b',' => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(NO_JSON),
        }
    }

    /// Takes a key and its colon where they are exactly these bytes: the usual case, for cheap.
    pub fn take_exact(&mut self, key_and_colon: &str) -> bool {
        let is_next = self.text.as_bytes()[self.at..].starts_with(key_and_colon.as_bytes());
        if is_next {
            self.at += key_and_colon.len();
        }
        is_next
    }

    /// A key, and the colon after it.
    pub fn key<'t>(&mut self, tape: &'t mut String) -> Result<&'t str, Refusal>
    where
        'a: 't,
    {
        self.peek()?;
        let key = self.string(tape)?;
        if self.take(b':')? {
            Ok(key)
        } else {
            Err(NO_JSON)
        }
    }

    /// A string; `tape` holds it where it has escapes.
    pub fn string<'t>(&mut self, tape: &'t mut String) -> Result<&'t str, Refusal>
    where
        'a: 't,
    {
        if self.byte(self.at) != Some(b'"') {
            return Err(NO_JSON);
        }
        let text: &'a str = self.text;
        let start = self.at + 1;
        self.at = plain_end(text.as_bytes(), start);
        if self.byte(self.at) == Some(b'"') {
            self.at += 1;
            return Ok(&text[start..self.at - 1]);
        }
        tape.clear();
        tape.push_str(&text[start..self.at]);
        loop {
            match self.byte(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(tape);
                }
                Some(b'\\') => tape.push(self.escape()?),
                _ => return Err("a string without end, or with a control character"),
            }
            let from = self.at;
            self.at = plain_end(text.as_bytes(), from);
            tape.push_str(&text[from..self.at]);
        }
    }

    pub fn number(&mut self) -> Result<Number<'a>, Refusal> {
        let start = self.at;
        self.at += usize::from(self.byte(self.at) == Some(b'-'));
        let whole = self.digits()?;
        if whole > 1 && self.byte(self.at - whole) == Some(b'0') {
            return Err("a number with a leading zero");
        }
        let mut is_integer = true;
        if self.byte(self.at) == Some(b'.') {
            is_integer = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte(self.at) {
            is_integer = false;
            self.at += 1;
            self.at += usize::from(matches!(self.byte(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        let text: &'a str = self.text;
        Ok(Number { text: &text[start..self.at], is_integer })
    }

    /// Reads past a value.
    pub fn skip(&mut self, tape: &mut String) -> Result<(), Refusal> {
        self.skip_within(tape, DEPTH)
    }

    fn skip_within(&mut self, tape: &mut String, depth: usize) -> Result<(), Refusal> {
        let depth = depth.checked_sub(1).ok_or("JSON nested too deeply")?;
        match self.peek()? {
            b'"' => self.string(tape).map(drop),
            b'{' => {
                self.at += 1;
                let mut is_first = true;
                while self.next_field(is_first)? {
                    self.key(tape)?;
                    self.skip_within(tape, depth)?;
                    is_first = false;
                }
                Ok(())
            }
            b'[' => {
                self.at += 1;
                let mut is_first = true;
                while self.next_item(is_first)? {
                    self.skip_within(tape, depth)?;
                    is_first = false;
                }
                Ok(())
            }
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => self.number().map(drop),
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// How many digits stand here: one at least.
    fn digits(&mut self) -> Result<usize, Refusal> {
        let start = self.at;
        while self.byte(self.at).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        match self.at - start {
            0 => Err(NO_JSON),
            count => Ok(count),
        }
    }

    /// A backslash and what follows it.
    fn escape(&mut self) -> Result<char, Refusal> {
        let kind = self.byte(self.at + 1).ok_or(NO_JSON)?;
        self.at += 2;
        Ok(match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err("an unknown escape"),
        })
    }

    fn unicode(&mut self) -> Result<char, Refusal> {
        const LONE: Refusal = "half of a surrogate pair";
        let first = self.hex()?;
        if !(0xD800..0xE000).contains(&first) {
            return char::from_u32(first).ok_or(LONE);
        }
        if first >= 0xDC00 || !self.take_exact("\\u") {
            return Err(LONE);
        }
        match self.hex()? {
            second @ 0xDC00..=0xDFFF => {
                let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                char::from_u32(code).ok_or(LONE)
            }
            _ => Err(LONE),
        }
    }

    fn hex(&mut self) -> Result<u32, Refusal> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(NO_JSON)?;
        self.at += 4;
        digits.iter().try_fold(0, |value, digit| {
            let digit = char::from(*digit).to_digit(16).ok_or(NO_JSON)?;
            Ok(value << 4 | digit)
        })
    }
}

/// Where the next quote, backslash or control character stands, or the text's end.
fn plain_end(bytes: &[u8], from: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES * 0x80;
    // Eight bytes at once: a byte that is less than `limit` borrows into its high bit. Beyond the
    // lowest such byte a borrow may lie, but only the lowest is looked at.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGH;
    let mut at = from;
    while let Some(chunk) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        let found = below(word ^ (ONES * u64::from(b'"')), 1)
            | below(word ^ (ONES * u64::from(b'\\')), 1)
            | below(word, 0x20);
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let is_plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | 0..=0x1F);
    at + bytes[at..].iter().take_while(|byte| is_plain(byte)).count()
}
