//! Messages of D-Bus to and from bytes: the "Message Protocol" and "Marshaling" of its specification.

use super::value::Value;

/// The order of bytes of this machine, in which messages are written, and come: every sender on the bus is
/// on the same machine.
const ORDER: u8 = if cfg!(target_endian = "big") { b'B' } else { b'l' };

/// Kinds of messages.
const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// Numbers of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;

/// The bytes at the start of a message that tell its length.
pub const FIXED: usize = 16;
/// More than systemd or a bus ever has to say here.
const LONGEST: usize = 1 << 20;

/// A call of a method.
pub struct Call<'a> {
    /// Whom it is for; none: whoever is at the other end.
    pub destination: Option<&'a str>,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// Its arguments.
    pub arguments: &'a [Value],
}

impl Call<'_> {
    /// The call as bytes, with its number.
    pub fn to_bytes(&self, serial: u32) -> Vec<u8> {
        let fields = [
            (PATH, Some(Value::Path(self.path.into()))),
            (DESTINATION, self.destination.map(Value::text)),
            (INTERFACE, Some(Value::text(self.interface))),
            (MEMBER, Some(Value::text(self.member))),
            (SIGNATURE, Some(Value::Signature(self.arguments.iter().map(Value::signature).collect()))),
        ];
        let given = fields.into_iter().filter_map(|(number, value)| Some((number, value?)));
        message(CALL, serial, given, self.arguments)
    }
}

/// A message of any kind: the fixed header, its fields, the body.
fn message(kind: u8, serial: u32, fields: impl IntoIterator<Item = (u8, Value)>, arguments: &[Value]) -> Vec<u8> {
    let mut body = Writer::default();
    arguments.iter().for_each(|argument| body.value(argument));
    let mut out = Writer(vec![ORDER, kind, 0, 1]);
    out.u32(body.0.len() as u32);
    out.u32(serial);
    out.array(8, fields, |out, (number, value)| {
        out.align(8);
        out.0.push(number);
        out.variant(&value);
    });
    out.align(8);
    out.0.extend(body.0);
    out.0
}

/// Writes values one after the other, each at a multiple of its alignment.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.0.extend(bytes);
    }

    fn u32(&mut self, number: u32) {
        self.number(number.to_ne_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(text.len() as u8);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// The length in front does not count the padding before the first element.
    fn array<T>(&mut self, alignment: usize, all: impl IntoIterator<Item = T>, one: impl Fn(&mut Writer, T)) {
        self.u32(0);
        let length = self.0.len() - 4;
        self.align(alignment);
        let begin = self.0.len();
        all.into_iter().for_each(|element| one(self, element));
        let bytes = ((self.0.len() - begin) as u32).to_ne_bytes();
        self.0[length..length + 4].copy_from_slice(&bytes);
    }

    fn variant(&mut self, value: &Value) {
        self.signature(&value.signature());
        self.value(value);
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(number) => self.0.push(*number),
            Value::Bool(yes) => self.u32(u32::from(*yes)),
            Value::I16(number) => self.number(number.to_ne_bytes()),
            Value::U16(number) => self.number(number.to_ne_bytes()),
            Value::I32(number) => self.number(number.to_ne_bytes()),
            Value::U32(number) => self.u32(*number),
            Value::I64(number) => self.number(number.to_ne_bytes()),
            Value::U64(number) => self.number(number.to_ne_bytes()),
            Value::Double(number) => self.number(number.to_ne_bytes()),
            Value::Text(text) | Value::Path(text) => self.text(text),
            Value::Signature(text) => self.signature(text),
            Value::Variant(inner) => self.variant(inner),
            Value::Array(element, values) => self.array(alignment(element), values, Writer::value),
            Value::Struct(fields) => {
                self.align(8);
                fields.iter().for_each(|field| self.value(field));
            }
        }
    }
}

/// Of the type at the start of a signature.
fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 4,
    }
}

/// What came.
#[derive(Debug, PartialEq)]
pub enum Message {
    /// The answer to the call of this number: its sender, and its first argument if that is a text.
    Return(u32, String, String),
    /// The refusal of the call of this number: its name and its words.
    Error(u32, String, String),
    /// A signal: its sender, its name, and its body.
    Signal(String, String, Vec<u8>),
    /// Something else.
    Other,
}

/// How long the whole message is of which these are the first [`FIXED`] bytes. None: it is none.
pub fn length(start: &[u8]) -> Option<usize> {
    let mut reader = Reader { bytes: start, at: 4 };
    let (body, _, fields) = (reader.u32()? as usize, reader.u32()?, reader.u32()? as usize);
    let all = FIXED.checked_add(fields)?.next_multiple_of(8).checked_add(body)?;
    (start[0] == ORDER && all <= LONGEST).then_some(all)
}

/// Reads a whole message. None: it is none.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let (mut reader, kind) = (Reader { bytes, at: 12 }, *bytes.get(1)?);
    let end = reader.u32()? as usize + FIXED;
    let (mut name, mut member, mut sender) = (String::new(), String::new(), String::new());
    let mut reply = 0;
    while reader.at < end {
        reader.align(8);
        let number = reader.byte()?;
        let signature = reader.signature()?;
        match (number, signature) {
            (REPLY_SERIAL, "u") => reply = reader.u32()?,
            (ERROR_NAME, "s") => name = reader.text()?.to_owned(),
            (MEMBER, "s") => member = reader.text()?.to_owned(),
            (SENDER, "s") => sender = reader.text()?.to_owned(),
            (_, "s" | "o") => drop(reader.text()?),
            (_, "g") => drop(reader.signature()?),
            (_, "u") => drop(reader.u32()?),
            _ => return None,
        }
    }
    reader.align(8);
    let body = bytes.get(reader.at..)?;
    let first = || Reader { bytes: body, at: 0 }.text().unwrap_or_default().to_owned();
    Some(match kind {
        RETURN => Message::Return(reply, sender, first()),
        ERROR => Message::Error(reply, name, first()),
        SIGNAL => Message::Signal(sender, member, body.to_owned()),
        _ => Message::Other,
    })
}

/// The body of JobRemoved: number, job, unit, result. Gives the job and the result.
pub fn job_removed(body: &[u8]) -> Option<(&str, &str)> {
    let mut reader = Reader { bytes: body, at: 0 };
    reader.u32()?;
    let (job, _, result) = (reader.text()?, reader.text()?, reader.text()?);
    Some((job, result))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        self.take(4)?.try_into().ok().map(u32::from_ne_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()? as usize;
        let text = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(text).ok()
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = self.byte()?.into();
        let text = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of an answer, an error or a signal, as a bus would write it.
    fn received(kind: u8, fields: Vec<(u8, Value)>, arguments: &[Value]) -> Vec<u8> {
        message(kind, 7, fields, arguments)
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_call_has_the_bytes_of_the_specification() {
        let arguments = [
            Value::text("x"),
            Value::Array(
                "(sv)".into(),
                vec![Value::Struct(vec![Value::text("M"), Value::Variant(Value::U64(5).into())])],
            ),
        ];
        let call = Call { destination: None, path: "/a", interface: "b.c", member: "D", arguments: &arguments };
        #[rustfmt::skip]
        let expected = [
            b'l', 1, 0, 1, 40, 0, 0, 0, 9, 0, 0, 0, 60, 0, 0, 0,
            1, 1, b'o', 0, 2, 0, 0, 0, b'/', b'a', 0, 0, 0, 0, 0, 0,
            2, 1, b's', 0, 3, 0, 0, 0, b'b', b'.', b'c', 0, 0, 0, 0, 0,
            3, 1, b's', 0, 1, 0, 0, 0, b'D', 0, 0, 0, 0, 0, 0, 0,
            8, 1, b'g', 0, 6, b's', b'a', b'(', b's', b'v', b')', 0, 0, 0, 0, 0,
            1, 0, 0, 0, b'x', 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0,
            1, 0, 0, 0, b'M', 0, 1, b't', 0, 0, 0, 0, 0, 0, 0, 0,
            5, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(call.to_bytes(9), expected);
        assert_eq!(length(&expected[..FIXED]), Some(expected.len()));
    }

    #[test]
    fn what_comes_is_understood() {
        let from = || (SENDER, Value::text(":1.0"));
        let told = received(RETURN, vec![(REPLY_SERIAL, Value::U32(3)), from()], &[Value::Path("/job/1".into())]);
        assert_eq!(parse(&told), Some(Message::Return(3, ":1.0".into(), "/job/1".into())));
        let fields = vec![(REPLY_SERIAL, Value::U32(3)), (ERROR_NAME, Value::text("a.B"))];
        let told = received(ERROR, fields, &[Value::text("no")]);
        assert_eq!(parse(&told), Some(Message::Error(3, "a.B".into(), "no".into())));
        let body = [Value::U32(1), Value::Path("/job/1".into()), Value::text("x.scope"), Value::text("done")];
        let fields = vec![(PATH, Value::Path("/".into())), (MEMBER, Value::text("JobRemoved")), from()];
        let Some(Message::Signal(sender, member, body)) = parse(&received(SIGNAL, fields, &body)) else { panic!() };
        assert_eq!((sender.as_str(), member.as_str()), (":1.0", "JobRemoved"));
        assert_eq!(job_removed(&body), Some(("/job/1", "done")));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let good = received(ERROR, vec![(ERROR_NAME, Value::text("a.B"))], &[Value::text("no")]);
        for cut in 0..FIXED {
            assert_eq!(length(&good[..cut]), None);
        }
        // Whatever byte is wrong: an answer, and no panic.
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut wrong = good.clone();
                wrong[at] = byte;
                let _ = (length(&wrong[..FIXED]), parse(&wrong), parse(&wrong[..at]));
            }
        }
        let mut other = good.clone();
        other[0] = b'x';
        assert_eq!(length(&other), None);
        other[0] = ORDER;
        other[4..8].fill(0xff);
        assert_eq!(length(&other), None, "longer than anything that is said here");
        assert_eq!(job_removed(&[0; 6]), None);
    }
}
