//! Values of the types that D-Bus has.

use std::fmt;

/// A value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Byte(u8),
    Bool(bool),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Double(f64),
    Text(String),
    Path(String),
    Signature(String),
    /// The signature of the elements, and the elements.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    /// A value that carries its type along.
    Variant(Box<Value>),
}

impl Value {
    /// Its type, as D-Bus spells it.
    pub fn signature(&self) -> String {
        let one = match self {
            Value::Byte(_) => "y",
            Value::Bool(_) => "b",
            Value::I16(_) => "n",
            Value::U16(_) => "q",
            Value::I32(_) => "i",
            Value::U32(_) => "u",
            Value::I64(_) => "x",
            Value::U64(_) => "t",
            Value::Double(_) => "d",
            Value::Text(_) => "s",
            Value::Path(_) => "o",
            Value::Signature(_) => "g",
            Value::Variant(_) => "v",
            Value::Array(element, _) => return format!("a{element}"),
            Value::Struct(fields) => return format!("({})", fields.iter().map(Value::signature).collect::<String>()),
        };
        one.to_owned()
    }

    /// An array without its elements; anything else as it is.
    pub fn emptied(&self) -> Value {
        match self {
            Value::Array(element, _) => Value::Array(element.clone(), Vec::new()),
            other => other.clone(),
        }
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    /// Bytes.
    pub fn bytes(bytes: impl IntoIterator<Item = u8>) -> Value {
        Value::Array("y".into(), bytes.into_iter().map(Value::Byte).collect())
    }
}

/// As `systemctl show` has it: no quotes, lists with spaces between, a number without limit by its name.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let list = |f: &mut fmt::Formatter, values: &[Value], between: &str| {
            values
                .iter()
                .enumerate()
                .try_for_each(|(index, value)| write!(f, "{}{value}", if index == 0 { "" } else { between }))
        };
        match self {
            Value::Byte(number) => write!(f, "{number:02x}"),
            Value::Bool(yes) => f.write_str(if *yes { "yes" } else { "no" }),
            Value::I16(number) => write!(f, "{number}"),
            Value::U16(number) => write!(f, "{number}"),
            Value::I32(number) => write!(f, "{number}"),
            Value::U32(number) => write!(f, "{number}"),
            Value::I64(number) => write!(f, "{number}"),
            Value::U64(u64::MAX) => f.write_str("infinity"),
            Value::U64(number) => write!(f, "{number}"),
            Value::Double(number) => write!(f, "{number}"),
            Value::Text(text) | Value::Path(text) | Value::Signature(text) => f.write_str(text),
            Value::Array(_, values) => list(f, values, " "),
            Value::Struct(values) => list(f, values, ":"),
            Value::Variant(value) => write!(f, "{value}"),
        }
    }
}
