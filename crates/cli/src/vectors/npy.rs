//! The header of NumPy's npy format, versions 1.0 to 3.0 (NEP 1 and `numpy.lib.format`).
//!
//! Magic, version, the length of a header, and the header: the text of a Python dictionary with the keys `descr`,
//! `fortran_order` and `shape` in any order. Data follows directly.

use super::{ByteOrder, Element, HeaderError};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// NumPy itself refuses to read headers above 10 000 bytes unless told otherwise.
const HEADER_LIMIT: u64 = 65_536;
/// As many bytes as a header can take, with all before it.
pub(super) const PREFIX_LIMIT: usize = 12 + HEADER_LIMIT as usize;
const MAX_DIMENSIONS: usize = 32;

/// What an npy header says. Only arrays in C order get this far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpyHeader {
    /// Type of one number.
    pub element: Element,
    /// Order of its bytes.
    pub order: ByteOrder,
    /// Length of each dimension, at most 32 of them; not yet compared with the size of the file.
    pub shape: Vec<u64>,
    /// Where the data starts, in bytes.
    pub data_at: usize,
}

/// Parses the header at the start of `bytes`, which may go on with data.
///
/// # Errors
///
/// Any input that is not an npy header of a plain numeric array in C order is refused; none panics, and the memory
/// taken is bounded by the length of `bytes`.
pub fn parse_npy_header(bytes: &[u8]) -> Result<NpyHeader, HeaderError> {
    need(bytes, 8)?;
    if &bytes[..6] != MAGIC {
        return Err(HeaderError::Magic { format: "npy" });
    }
    let (text_at, text_len) = match (bytes[6], bytes[7]) {
        (1, 0) => {
            need(bytes, 10)?;
            (10, u64::from(u16::from_le_bytes([bytes[8], bytes[9]])))
        }
        (2 | 3, 0) => {
            need(bytes, 12)?;
            (12, u64::from(u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]])))
        }
        (major, minor) => return Err(HeaderError::NpyVersion { major, minor }),
    };
    if text_len > HEADER_LIMIT {
        return Err(HeaderError::NpyHeaderLength { got: text_len, limit: HEADER_LIMIT });
    }
    // Fits: just compared with the limit.
    let data_at = text_at + text_len as usize;
    need(bytes, data_at)?;
    Parser { bytes: &bytes[..data_at], at: text_at }.dictionary()
}

fn need(bytes: &[u8], expected: usize) -> Result<(), HeaderError> {
    if bytes.len() < expected {
        return Err(HeaderError::Short { expected: expected as u64, got: bytes.len() as u64 });
    }
    Ok(())
}

struct Parser<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Parser<'b> {
    fn dictionary(mut self) -> Result<NpyHeader, HeaderError> {
        let (mut element, mut fortran_order, mut shape) = (None, None, None);
        self.expect(b'{', "'{'")?;
        while !self.accept(b'}') {
            let key_at = self.skip_blanks();
            let key = self.string("a key in quotation marks, or '}'")?;
            self.expect(b':', "':'")?;
            match key {
                b"descr" => element = Some(self.element()?),
                b"fortran_order" => fortran_order = Some(self.boolean()?),
                b"shape" => shape = Some(self.shape()?),
                _ => {
                    self.at = key_at;
                    return Err(self.unexpected("one of the keys descr, fortran_order, shape"));
                }
            }
            if !self.accept(b',') {
                self.expect(b'}', "',' or '}'")?;
                break;
            }
        }
        if self.skip_blanks() < self.bytes.len() {
            return Err(self.unexpected("nothing but blanks after '}'"));
        }
        let (element, order) = element.ok_or(HeaderError::NpyMissingKey { key: "descr" })?;
        if fortran_order.ok_or(HeaderError::NpyMissingKey { key: "fortran_order" })? {
            return Err(HeaderError::NpyFortranOrder);
        }
        let shape = shape.ok_or(HeaderError::NpyMissingKey { key: "shape" })?;
        Ok(NpyHeader { element, order, shape, data_at: self.bytes.len() })
    }

    fn element(&mut self) -> Result<(Element, ByteOrder), HeaderError> {
        self.skip_blanks();
        if self.bytes.get(self.at) == Some(&b'[') {
            return Err(HeaderError::NpyType { got: "a structure of fields".to_owned() });
        }
        let name = self.string("a dtype in quotation marks")?;
        let unknown = || HeaderError::NpyType { got: format!("'{}'", name.escape_ascii()) };
        let (order, name) = name.split_first().ok_or_else(unknown)?;
        let element = match name {
            b"f2" => Element::F16,
            b"f4" => Element::F32,
            b"f8" => Element::F64,
            b"i1" => Element::I8,
            b"u1" => Element::U8,
            b"i2" => Element::I16,
            b"u2" => Element::U16,
            b"i4" => Element::I32,
            b"u4" => Element::U32,
            b"i8" => Element::I64,
            b"u8" => Element::U64,
            _ => return Err(unknown()),
        };
        let order = match order {
            b'<' => ByteOrder::Little,
            b'>' => ByteOrder::Big,
            // "Not applicable", for single bytes.
            b'|' if element.size() == 1 => ByteOrder::Little,
            _ => return Err(unknown()),
        };
        Ok((element, order))
    }

    fn boolean(&mut self) -> Result<bool, HeaderError> {
        self.skip_blanks();
        for (word, value) in [(&b"False"[..], false), (b"True", true)] {
            if self.bytes[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.unexpected("True or False"))
    }

    fn shape(&mut self) -> Result<Vec<u64>, HeaderError> {
        self.expect(b'(', "'('")?;
        let mut shape = Vec::new();
        while !self.accept(b')') {
            shape.push(self.number()?);
            if shape.len() > MAX_DIMENSIONS {
                return Err(HeaderError::Dimensions { got: shape.len() });
            }
            if !self.accept(b',') {
                self.expect(b')', "',' or ')'")?;
                break;
            }
        }
        Ok(shape)
    }

    fn number(&mut self) -> Result<u64, HeaderError> {
        let start = self.skip_blanks();
        let digits = self.bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let value =
            std::str::from_utf8(&self.bytes[start..start + digits]).ok().and_then(|text| text.parse().ok());
        let value = value.ok_or_else(|| self.unexpected("a length from 0 to 18446744073709551615"))?;
        self.at += digits;
        // Files written by Python 2 have a trailing L.
        if self.bytes.get(self.at) == Some(&b'L') {
            self.at += 1;
        }
        Ok(value)
    }

    /// A Python string without escapes, which none of the known keys and types need.
    fn string(&mut self, expected: &'static str) -> Result<&'b [u8], HeaderError> {
        let start = self.skip_blanks() + 1;
        let Some(quote @ (b'\'' | b'"')) = self.bytes.get(self.at) else {
            return Err(self.unexpected(expected));
        };
        match self.bytes[start..].iter().position(|byte| byte == quote) {
            Some(len) => {
                self.at = start + len + 1;
                Ok(&self.bytes[start..start + len])
            }
            None => Err(self.unexpected("a string that ends")),
        }
    }

    fn skip_blanks(&mut self) -> usize {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.at
    }

    fn accept(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), HeaderError> {
        if self.accept(byte) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn unexpected(&self, expected: &'static str) -> HeaderError {
        let found = match self.bytes.get(self.at) {
            Some(byte) => format!("'{}'", byte.escape_ascii()),
            None => "its end".to_owned(),
        };
        HeaderError::NpySyntax { at: self.at, found, expected }
    }
}
