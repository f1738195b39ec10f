//! Small pieces for reading config.json: strings for the kernel, and Go's null.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::fmt;
use std::ops::Deref;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, Visitor};

/// A string that the kernel will be given: NUL-terminated, so that nothing is converted later.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Text(pub CString);

impl Text {
    /// The bytes before the NUL.
    pub fn bytes(&self) -> &[u8] {
        self.0.to_bytes()
    }
}

impl Deref for Text {
    type Target = CStr;
    fn deref(&self) -> &CStr {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0.to_string_lossy())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}", self.0.to_string_lossy())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                CString::new(text).map(Text).map_err(|_| E::custom("a string with a NUL byte"))
            }
        }
        from.deserialize_str(TextVisitor)
    }
}

/// Reads null as the type's default, as Go programs write empty lists.
pub fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Reads a string that stands for something else. What is wrong with it is told while the reader stands
/// at it, so that the error has its place; null is the empty string.
pub fn parsed<'de, D: Deserializer<'de>, T>(
    from: D,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    struct Parsed<F>(F);
    impl<T, F: FnOnce(&str) -> Result<T, String>> Visitor<'_> for Parsed<F> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_unit<E: de::Error>(self) -> Result<T, E> {
            self.visit_str("")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.0)(text).map_err(E::custom)
        }
    }
    from.deserialize_any(Parsed(parse))
}

/// One of a list of names. Serde's own reader of enums tells a value that is no string as broken JSON.
struct Name<T>(T);

impl<'de, T: de::DeserializeOwned> Deserialize<'de> for Name<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Name<T>, D::Error> {
        let known = |text: &str| {
            let text: de::value::StrDeserializer<de::value::Error> = de::IntoDeserializer::into_deserializer(text);
            T::deserialize(text).map_err(|error| error.to_string())
        };
        parsed(from, known).map(Name)
    }
}

/// A name of an enum's variant.
pub fn name<'de, D: Deserializer<'de>, T: de::DeserializeOwned>(from: D) -> Result<T, D::Error> {
    Name::deserialize(from).map(|name| name.0)
}

/// A list of such names; null is an empty one.
pub fn names<'de, D: Deserializer<'de>, T: de::DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let list: Option<Vec<Name<T>>> = Option::deserialize(from)?;
    Ok(list.unwrap_or_default().into_iter().map(|name| name.0).collect())
}

/// What is read only from an object: serde's derived readers would take a list of the values, too.
#[derive(Debug, Default)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Object<T>, D::Error> {
        struct ObjectVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(Noting(map))).map(Object)
            }
        }
        from.deserialize_map(ObjectVisitor(std::marker::PhantomData))
    }
}

thread_local! {
    /// Whether a property was passed over since [`start_noting`].
    static PASSED_OVER: Cell<bool> = const { Cell::new(false) };
}

/// Begins to note properties that a reader passes over.
pub fn start_noting() {
    PASSED_OVER.set(false);
}

/// Whether a reader has passed over a property, which it does not know.
pub fn has_passed_over() -> bool {
    PASSED_OVER.get()
}

/// The properties of an object, whose reader leaves a mark where it passes over one. What it then reads is the only
/// value without a size ([`de::IgnoredAny`]), so that the compiler leaves nothing of this for those that it knows.
struct Noting<A>(A);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Noting<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        if size_of::<V::Value>() == 0 {
            PASSED_OVER.set(true);
        }
        self.0.next_value_seed(seed)
    }
}

/// An object or nothing.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(from)?.map(|object| object.0))
}

/// An object; null is one without properties.
pub fn object_or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    object(from).map(Option::unwrap_or_default)
}

/// A list of objects; null is none.
pub fn some_objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Vec<T>>, D::Error> {
    let list: Option<Vec<Object<T>>> = Option::deserialize(from)?;
    Ok(list.map(|list| list.into_iter().map(|object| object.0).collect()))
}

/// A list of objects; null is an empty one.
pub fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    some_objects(from).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_byte_is_refused() {
        crate::golden::compare(&serde_json::from_str::<Text>(r#""a\u0000b""#).unwrap_err().to_string());
    }
}
