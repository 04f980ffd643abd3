//! Small DICOM files for tests.

/// What an element holds.
#[derive(Clone)]
pub enum Value {
    /// A type and its bytes, which are padded to an even number.
    Bytes([u8; 2], Vec<u8>),
    /// Compressed pixels, in parts.
    Fragments(Vec<Vec<u8>>),
    /// A sequence of elements, whose length is said or not.
    Items { items: Vec<Vec<(u32, Value)>>, with_length: bool },
}

/// A file to be.
#[derive(Clone)]
pub struct Dicom {
    /// Transfer syntax.
    pub syntax: &'static str,
    /// Elements by group and number.
    pub elements: Vec<(u32, Value)>,
}

pub const IMPLICIT: &str = "1.2.840.10008.1.2";
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

pub fn text(vr: &[u8; 2], text: &str) -> Value {
    Value::Bytes(*vr, text.as_bytes().to_vec())
}

impl Dicom {
    /// A gray image of `width * height` native samples, of one byte each where `bits` is 8.
    pub fn gray(syntax: &'static str, (width, height): (u16, u16), bits: u16, samples: &[u16]) -> Self {
        let mut file = Self { syntax, elements: Vec::new() };
        file.put(0x0028_0002, file.short(1));
        file.put(0x0028_0004, text(b"CS", "MONOCHROME2"));
        file.put(0x0028_0010, file.short(height));
        file.put(0x0028_0011, file.short(width));
        file.put(0x0028_0100, file.short(if bits == 8 { 8 } else { 16 }));
        file.put(0x0028_0101, file.short(bits));
        file.put(0x0028_0102, file.short(bits - 1));
        file.put(0x0028_0103, file.short(0));
        let pixels = match bits {
            8 => Value::Bytes(*b"OB", samples.iter().map(|&sample| sample as u8).collect()),
            _ => Value::Bytes(*b"OW", samples.iter().flat_map(|&sample| file.word(sample)).collect()),
        };
        file.put(0x7FE0_0010, pixels);
        file
    }

    /// Sets an element in its place.
    pub fn put(&mut self, tag: u32, value: Value) {
        self.elements.retain(|(known, _)| *known != tag);
        self.elements.push((tag, value));
        self.elements.sort_by_key(|(tag, _)| *tag);
    }

    /// The same file with an element.
    pub fn with(mut self, tag: u32, value: Value) -> Self {
        self.put(tag, value);
        self
    }

    pub fn word(&self, value: u16) -> [u8; 2] {
        if self.syntax == BIG_ENDIAN { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub fn short(&self, value: u16) -> Value {
        Value::Bytes(*b"US", self.word(value).to_vec())
    }

    /// Preamble, header and elements.
    pub fn bytes(&self) -> Vec<u8> {
        [self.header(), self.data()].concat()
    }

    /// Preamble and header.
    pub fn header(&self) -> Vec<u8> {
        let mut file = vec![0; 128];
        file.extend(b"DICM");
        let header = Self { syntax: EXPLICIT, elements: vec![(0x0002_0010, text(b"UI", self.syntax))] };
        header.write(&header.elements, &mut file);
        file
    }

    /// The elements.
    pub fn data(&self) -> Vec<u8> {
        let mut data = Vec::new();
        self.write(&self.elements, &mut data);
        data
    }

    fn long(&self, value: u32) -> [u8; 4] {
        if self.syntax == BIG_ENDIAN { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn tag(&self, tag: u32, into: &mut Vec<u8>) {
        into.extend(self.word((tag >> 16) as u16));
        into.extend(self.word(tag as u16));
    }

    fn write(&self, elements: &[(u32, Value)], into: &mut Vec<u8>) {
        for (tag, value) in elements {
            self.tag(*tag, into);
            let (vr, length, bytes) = match value {
                Value::Bytes(vr, bytes) => {
                    let mut bytes = bytes.clone();
                    let padding = if matches!(vr, b"OB" | b"UI" | b"UN") { 0 } else { b' ' };
                    bytes.resize(bytes.len().next_multiple_of(2), padding);
                    (*vr, bytes.len() as u32, bytes)
                }
                Value::Fragments(fragments) => {
                    let mut bytes = Vec::new();
                    for fragment in std::iter::once(&Vec::new()).chain(fragments) {
                        self.tag(0xFFFE_E000, &mut bytes);
                        let even = fragment.len().next_multiple_of(2);
                        bytes.extend(self.long(even as u32));
                        bytes.extend(fragment);
                        bytes.resize(bytes.len() + even - fragment.len(), 0);
                    }
                    self.tag(0xFFFE_E0DD, &mut bytes);
                    bytes.extend([0; 4]);
                    (*b"OB", u32::MAX, bytes)
                }
                Value::Items { items, with_length } => {
                    let mut bytes = Vec::new();
                    for item in items {
                        let mut inner = Vec::new();
                        self.write(item, &mut inner);
                        self.tag(0xFFFE_E000, &mut bytes);
                        bytes.extend(self.long(if *with_length { inner.len() as u32 } else { u32::MAX }));
                        bytes.extend(inner);
                        if !with_length {
                            self.tag(0xFFFE_E00D, &mut bytes);
                            bytes.extend([0; 4]);
                        }
                    }
                    let length = bytes.len() as u32;
                    if !with_length {
                        self.tag(0xFFFE_E0DD, &mut bytes);
                        bytes.extend([0; 4]);
                    }
                    (*b"SQ", if *with_length { length } else { u32::MAX }, bytes)
                }
            };
            if self.syntax == IMPLICIT {
                into.extend(self.long(length));
            } else {
                into.extend(vr);
                match matches!(&vr, b"OB" | b"OW" | b"SQ" | b"UN" | b"UT") {
                    true => {
                        into.extend([0; 2]);
                        into.extend(self.long(length));
                    }
                    false => into.extend(self.word(length as u16)),
                }
            }
            into.extend(bytes);
        }
    }
}
