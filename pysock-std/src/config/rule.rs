//! What each option accepts, said once: how it is read from YAML, what an error tells to write
//! instead, and whether a value set in code is acceptable.

use std::{
    collections::BTreeMap, fmt, marker::PhantomData, path::PathBuf, str::FromStr, time::Duration,
};

use pysock_proto::{Name, PublicKey};
use serde::{
    Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
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

/// What stands in the YAML where a plain value belongs.
pub(super) enum Found<'a> {
    Nothing,
    Flag(bool),
    Whole(u64),
    Number(f64),
    Text(&'a str),
}

/// How a rule for plain values reads one.
pub(super) trait Plain: Copy {
    /// Whether the YAML decides what a value is; if not, everything is text: a name may be `007`.
    const TYPED: bool = true;
    type Of;

    /// `None` if it is not acceptable.
    fn take(&self, found: Found<'_>) -> Option<Self::Of>;

    /// What belongs here, for people.
    fn expected(&self) -> String;

    /// What is wrong with a text. Never repeats it: it may be a secret, and the place is shown anyway.
    fn complaint(&self, _: &str) -> Option<String> {
        None
    }
}

/// The one visitor of all plain values. Only an error of the kind "custom", and only from inside the
/// visitor, is shown at the value instead of at the option's name.
struct Taking<P>(P);

impl<P: Plain> Taking<P> {
    fn take<E: de::Error>(self, found: Found<'_>) -> Result<P::Of, E> {
        let complaint = match found {
            Found::Text(text) => self.0.complaint(text).map_or_else(String::new, |c| c + "; "),
            _ => String::new(),
        };
        let taken = self.0.take(found);
        taken.ok_or_else(|| E::custom(format_args!("{complaint}expected {}", self.0.expected())))
    }
}

impl<P: Plain> Visitor<'_> for Taking<P> {
    type Value = P::Of;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.expected())
    }
    fn visit_unit<E: de::Error>(self) -> Result<P::Of, E> {
        self.take(Found::Nothing)
    }
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<P::Of, E> {
        self.take(Found::Flag(value))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<P::Of, E> {
        self.take(Found::Whole(value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<P::Of, E> {
        self.take(u64::try_from(value).map_or(Found::Number(value as f64), Found::Whole))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<P::Of, E> {
        self.take(Found::Number(value))
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<P::Of, E> {
        self.take(Found::Text(value))
    }
}

/// Makes a [`Plain`] a [`Rule`].
macro_rules! plain {
    ($(<$t:ident: $bound:path>)? $rule:ident => $of:ty, $holds:expr) => {
        impl<'de $(, $t: $bound)?> DeserializeSeed<'de> for $rule $(<$t>)? {
            type Value = $of;
            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<$of, D::Error> {
                match <Self as Plain>::TYPED {
                    true => from.deserialize_any(Taking(self)),
                    false => from.deserialize_str(Taking(self)),
                }
            }
        }

        impl $(<$t: $bound>)? Rule for $rule $(<$t>)? {
            type Of = $of;
            fn expected(&self) -> String {
                Plain::expected(self)
            }
            fn holds(&self, value: &$of) -> bool {
                let holds: fn(&Self, &$of) -> bool = $holds;
                holds(self, value)
            }
        }
    };
}

/// `true` or `false`, as YAML 1.2 has them: `no` and `1` are neither.
#[derive(Clone, Copy)]
pub(super) struct Flag;

plain!(Flag => bool, |_, _| true);

impl Plain for Flag {
    type Of = bool;
    fn take(&self, found: Found<'_>) -> Option<bool> {
        match found {
            Found::Flag(value) => Some(value),
            _ => None,
        }
    }
    fn expected(&self) -> String {
        "`true` or `false`".to_owned()
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

plain!(<T: Int> Whole => T, |rule, value| (rule.min..=rule.max).contains(value));

impl<T: Int> Plain for Whole<T> {
    type Of = T;
    fn take(&self, found: Found<'_>) -> Option<T> {
        match found {
            Found::Whole(value) => T::try_from(value).ok().filter(|value| self.holds(value)),
            _ => None,
        }
    }
    fn expected(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }
}

/// A duration, as a number of seconds: up to a day.
#[derive(Clone, Copy)]
pub(super) struct Seconds;

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(86_400);

plain!(Seconds => Duration, |_, value| (SHORTEST..=LONGEST).contains(value));

impl Plain for Seconds {
    type Of = Duration;
    fn take(&self, found: Found<'_>) -> Option<Duration> {
        let duration = match found {
            Found::Whole(seconds) => Some(Duration::from_secs(seconds)),
            Found::Number(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            _ => None,
        };
        duration.filter(|duration| self.holds(duration))
    }
    fn expected(&self) -> String {
        "a number of seconds from 0.001 to 86400, such as `2` or `0.5`".to_owned()
    }
}

/// A text that parses as a `T`, which says for itself what is wrong with another one.
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

plain!(<T: Text> Parsed => T, |_, _| true);

impl<T: Text> Plain for Parsed<T> {
    const TYPED: bool = false;
    type Of = T;
    fn take(&self, found: Found<'_>) -> Option<T> {
        match found {
            Found::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
    fn expected(&self) -> String {
        self.what.to_owned()
    }
    fn complaint(&self, text: &str) -> Option<String> {
        text.parse::<T>().err().map(|e| e.to_string())
    }
}

/// A host name or IP address. Whether it exists is for the resolver to say.
#[derive(Clone, Copy)]
pub(super) struct Host;

plain!(Host => String, |_, text| {
    let bad = |c: char| c.is_whitespace() || c.is_control() || "/[]@".contains(c);
    // One colon is a port; an IPv6 address has at least two.
    !text.is_empty() && text.len() <= 253 && !text.contains(bad) && text.split(':').count() != 2
});

impl Plain for Host {
    const TYPED: bool = false;
    type Of = String;
    fn take(&self, found: Found<'_>) -> Option<String> {
        match found {
            Found::Text(text) => Some(text.to_owned()).filter(|text| self.holds(text)),
            _ => None,
        }
    }
    fn expected(&self) -> String {
        "a host name or an IP address without a port, such as `localhost`, `0.0.0.0` or `\"::\"`"
            .to_owned()
    }
}

/// The path of a file.
#[derive(Clone, Copy)]
pub(super) struct FilePath;

plain!(FilePath => PathBuf, |_, path| path.file_name().is_some());

impl Plain for FilePath {
    const TYPED: bool = false;
    type Of = PathBuf;
    fn take(&self, found: Found<'_>) -> Option<PathBuf> {
        match found {
            Found::Text(text) => Some(PathBuf::from(text)).filter(|path| self.holds(path)),
            _ => None,
        }
    }
    fn expected(&self) -> String {
        "the path of a file".to_owned()
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

plain!(<T: Copy> OneOf => T, |_, _| true);

impl<T: Copy> Plain for OneOf<T> {
    type Of = T;
    fn take(&self, found: Found<'_>) -> Option<T> {
        match found {
            Found::Text(text) => self.0.iter().find(|(word, _)| *word == text).map(|(_, of)| *of),
            _ => None,
        }
    }
    fn expected(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        words.join(" or ")
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
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expected())
    }
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
        from.deserialize_any(self)
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
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expected())
    }
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

impl<'de> DeserializeSeed<'de> for Keys {
    type Value = BTreeMap<Name, PublicKey>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

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
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expected())
    }
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
