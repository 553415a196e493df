//! What each option accepts, said once: how it is read from YAML, what an error tells to write
//! instead, and whether a value set in code is acceptable.

use std::{
    collections::BTreeMap, fmt, marker::PhantomData, path::PathBuf, str::FromStr, time::Duration,
};

use pysock_proto::{Name, PublicKey};
use serde::{
    Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Unexpected, Visitor},
};

/// The rule of one option. As a seed it reads the option's value.
pub(super) trait Rule: Copy + for<'de> DeserializeSeed<'de, Value = Self::Of> {
    /// The type of the value.
    type Of;

    /// What belongs here, for people.
    fn expected(&self) -> String;

    /// Whether a value that did not come through the YAML is one that could have.
    fn holds(&self, value: &Self::Of) -> bool;
}

/// A rule for plain values, by one function from what the YAML says.
macro_rules! scalar {
    ($(<$t:ident: $($bound:path),+>)? $rule:ident => $of:ty, $read:ident) => {
        impl<'de $(, $t: $($bound +)+)?> DeserializeSeed<'de> for $rule $(<$t>)? {
            type Value = $of;
            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<$of, D::Error> {
                from.$read(self)
            }
        }
    };
}

/// For `expecting`, which every visitor needs.
macro_rules! expecting {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.expected())
        }
    };
}

/// `true` or `false`, as YAML 1.2 has them: `no` and `1` are neither.
#[derive(Clone, Copy)]
pub(super) struct Flag;

scalar!(Flag => bool, deserialize_any);

impl Rule for Flag {
    type Of = bool;
    fn expected(&self) -> String {
        "`true` or `false`".to_owned()
    }
    fn holds(&self, _: &bool) -> bool {
        true
    }
}

impl Visitor<'_> for Flag {
    type Value = bool;
    expecting!();
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }
}

/// A whole number from `min` to `max`.
#[derive(Clone, Copy)]
pub(super) struct Whole<T> {
    pub(super) min: T,
    pub(super) max: T,
}

/// The integers that options have.
pub(super) trait Int: TryFrom<u64> + PartialOrd + Copy + fmt::Display {}
impl<T: TryFrom<u64> + PartialOrd + Copy + fmt::Display> Int for T {}

scalar!(<T: Int> Whole => T, deserialize_any);

impl<T: Int> Rule for Whole<T> {
    type Of = T;
    fn expected(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }
    fn holds(&self, value: &T) -> bool {
        (self.min..=self.max).contains(value)
    }
}

impl<T: Int> Visitor<'_> for Whole<T> {
    type Value = T;
    expecting!();
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        let fits = T::try_from(value).ok().filter(|value| self.holds(value));
        fits.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }
}

/// A duration, as a number of seconds: up to a day.
#[derive(Clone, Copy)]
pub(super) struct Seconds;

impl Seconds {
    const MIN: Duration = Duration::from_millis(1);
    const MAX: Duration = Duration::from_secs(86_400);
}

scalar!(Seconds => Duration, deserialize_any);

impl Rule for Seconds {
    type Of = Duration;
    fn expected(&self) -> String {
        "a number of seconds from 0.001 to 86400, such as `2` or `0.5`".to_owned()
    }
    fn holds(&self, value: &Duration) -> bool {
        (Self::MIN..=Self::MAX).contains(value)
    }
}

impl Visitor<'_> for Seconds {
    type Value = Duration;
    expecting!();
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Duration, E> {
        let fits = Duration::try_from_secs_f64(value).ok().filter(|value| self.holds(value));
        fits.ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Duration, E> {
        let fits = Some(Duration::from_secs(value)).filter(|value| self.holds(value));
        fits.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Duration, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }
}

/// A text that parses as a `T`, which then says for itself what is wrong with another one.
/// An error never repeats the text, because it may be a secret.
pub(super) struct Parsed<T> {
    what: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T> Parsed<T> {
    pub(super) const fn new(what: &'static str) -> Self {
        Parsed { what, of: PhantomData }
    }
}

impl<T> Clone for Parsed<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Parsed<T> {}

/// What [`Parsed`] can read.
pub(super) trait Text: FromStr<Err: fmt::Display> {}
impl<T: FromStr<Err: fmt::Display>> Text for T {}

scalar!(<T: Text> Parsed => T, deserialize_str);

impl<T: Text> Rule for Parsed<T> {
    type Of = T;
    fn expected(&self) -> String {
        self.what.to_owned()
    }
    fn holds(&self, _: &T) -> bool {
        true
    }
}

impl<T: Text> Visitor<'_> for Parsed<T> {
    type Value = T;
    expecting!();
    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|e| E::custom(format_args!("{e}; expected {}", self.what)))
    }
}

/// A host name or IP address. Whether it exists is for the resolver to say.
#[derive(Clone, Copy)]
pub(super) struct Host;

scalar!(Host => String, deserialize_str);

impl Rule for Host {
    type Of = String;
    fn expected(&self) -> String {
        "a host name or an IP address without a port, such as `localhost`, `0.0.0.0` or `\"::\"`"
            .to_owned()
    }
    fn holds(&self, text: &String) -> bool {
        let bad = |c: char| c.is_whitespace() || c.is_control() || "/[]@".contains(c);
        // One colon is a port; an IPv6 address has at least two.
        !text.is_empty() && text.len() <= 253 && !text.contains(bad) && text.split(':').count() != 2
    }
}

impl Visitor<'_> for Host {
    type Value = String;
    expecting!();
    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        let text = text.to_owned();
        if self.holds(&text) {
            return Ok(text);
        }
        Err(E::invalid_value(Unexpected::Str(&text), &self))
    }
}

/// The path of a file.
#[derive(Clone, Copy)]
pub(super) struct FilePath;

scalar!(FilePath => PathBuf, deserialize_str);

impl Rule for FilePath {
    type Of = PathBuf;
    fn expected(&self) -> String {
        "the path of a file".to_owned()
    }
    fn holds(&self, path: &PathBuf) -> bool {
        path.file_name().is_some()
    }
}

impl Visitor<'_> for FilePath {
    type Value = PathBuf;
    expecting!();
    fn visit_str<E: de::Error>(self, text: &str) -> Result<PathBuf, E> {
        let path = PathBuf::from(text);
        if self.holds(&path) {
            return Ok(path);
        }
        Err(E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// One word out of a few.
pub(super) struct OneOf<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T> Clone for OneOf<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for OneOf<T> {}

scalar!(<T: Copy> OneOf => T, deserialize_str);

impl<T: Copy> Rule for OneOf<T> {
    type Of = T;
    fn expected(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        words.join(" or ")
    }
    fn holds(&self, _: &T) -> bool {
        true
    }
}

impl<T: Copy> Visitor<'_> for OneOf<T> {
    type Value = T;
    expecting!();
    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        let found = self.0.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// Nothing (`~` or no text at all), or what the other rule reads.
#[derive(Clone, Copy)]
pub(super) struct Maybe<R>(pub(super) R);

impl<'de, R: Rule> DeserializeSeed<'de> for Maybe<R> {
    type Value = Option<R::Of>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_option(self)
    }
}

impl<R: Rule> Rule for Maybe<R> {
    type Of = Option<R::Of>;
    fn expected(&self) -> String {
        self.0.expected()
    }
    fn holds(&self, value: &Self::Of) -> bool {
        value.as_ref().is_none_or(|value| self.0.holds(value))
    }
}

impl<'de, R: Rule> Visitor<'de> for Maybe<R> {
    type Value = Option<R::Of>;
    expecting!();
    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(from).map(Some)
    }
}

/// A list without repetitions.
#[derive(Clone, Copy)]
pub(super) struct ListOf<R>(pub(super) R);

impl<'de, R: Rule<Of: PartialEq>> DeserializeSeed<'de> for ListOf<R> {
    type Value = Vec<R::Of>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<R: Rule<Of: PartialEq>> Rule for ListOf<R> {
    type Of = Vec<R::Of>;
    fn expected(&self) -> String {
        format!("a list such as `[a, b]`, each {}, none twice", self.0.expected())
    }
    fn holds(&self, list: &Self::Of) -> bool {
        list.iter().enumerate().all(|(i, item)| self.0.holds(item) && !list[..i].contains(item))
    }
}

impl<'de, R: Rule<Of: PartialEq>> Visitor<'de> for ListOf<R> {
    type Value = Vec<R::Of>;
    expecting!();
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element_seed(self.0)? {
            if list.contains(&item) {
                return Err(de::Error::custom("listed twice; remove one of them"));
            }
            list.push(item);
        }
        Ok(list)
    }
}

/// Names and their keys; a key has one name.
#[derive(Clone, Copy)]
pub(super) struct Keys;

pub(super) const NAME: Parsed<Name> =
    Parsed::new("a name of 1 to 32 characters, such as `kitchen` or `sensor-7`");
pub(super) const PUBLIC_KEY: Parsed<PublicKey> = Parsed::new("a public key, `pysock1…`");

scalar!(Keys => BTreeMap<Name, PublicKey>, deserialize_map);

impl Rule for Keys {
    type Of = BTreeMap<Name, PublicKey>;
    fn expected(&self) -> String {
        "names with their public keys, one `name: pysock1…` a line, each key once".to_owned()
    }
    fn holds(&self, keys: &Self::Of) -> bool {
        let distinct: std::collections::BTreeSet<_> = keys.values().collect();
        distinct.len() == keys.len()
    }
}

impl<'de> Visitor<'de> for Keys {
    type Value = BTreeMap<Name, PublicKey>;
    expecting!();
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut keys = BTreeMap::new();
        while let Some(name) = map.next_key_seed(NAME)? {
            keys.insert(name, map.next_value_seed(PUBLIC_KEY)?);
        }
        if !self.holds(&keys) {
            return Err(de::Error::custom("two names have the same key; give each its own"));
        }
        Ok(keys)
    }
}
