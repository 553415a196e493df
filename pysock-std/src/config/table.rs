//! Configurations as tables: each option's name, type, default and rule stand in one line of one place.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, MapAccess, Visitor},
};

use super::{ConfigError, rule::Rule};

/// What the macro [`table`] makes of a configuration.
pub(super) trait Table {
    /// The names of the options.
    const OPTIONS: &'static [&'static str];

    /// Reads the value of `option`, which is one of [`Table::OPTIONS`].
    fn set<'de, A: MapAccess<'de>>(&mut self, option: &str, map: &mut A) -> Result<(), A::Error>;

    /// Applies every option's rule to its value.
    fn hold(&self) -> Result<(), ConfigError>;
}

/// Declares a struct of options. Each line is `name: type = default, rule;`.
macro_rules! table {
    (
        $(#[$about:meta])*
        pub struct $table:ident from new($($arg:ident: $arg_type:ty)?) {
            $($(#[$doc:meta])* $option:ident: $of:ty = $default:expr, $rule:expr;)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $table {
            $($(#[$doc])* pub $option: $of,)+
        }

        impl $table {
            /// Every option at its default.
            pub fn new($($arg: $arg_type)?) -> Self {
                $table { $($option: $default,)+ }
            }
        }

        impl $crate::config::table::Table for $table {
            const OPTIONS: &'static [&'static str] = &[$(stringify!($option)),+];

            fn set<'de, A: serde::de::MapAccess<'de>>(
                &mut self,
                option: &str,
                map: &mut A,
            ) -> Result<(), A::Error> {
                match option {
                    $(stringify!($option) => self.$option = map.next_value_seed($rule)?,)+
                    _ => {}
                }
                Ok(())
            }

            fn hold(&self) -> Result<(), $crate::config::ConfigError> {
                use $crate::config::rule::Rule;
                $(if !$rule.holds(&self.$option) {
                    let expected = $rule.expected();
                    let option = stringify!($option);
                    return Err($crate::config::ConfigError::Option { option, expected });
                })+
                Ok(())
            }
        }
    };
}

pub(super) use table;

/// Reads options into a table, and returns which ones there were.
pub(super) struct Options<'a, T>(pub(super) &'a mut T);

impl<'de, T: Table> DeserializeSeed<'de> for Options<'_, T> {
    type Value = Vec<&'static str>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, T: Table> Visitor<'de> for Options<'_, T> {
    type Value = Vec<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("options, one `name: value` a line")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut seen = Vec::new();
        while let Some(option) = map.next_key_seed(OptionName(T::OPTIONS))? {
            self.0.set(option, &mut map)?;
            seen.push(option);
        }
        Ok(seen)
    }
}

/// One of a table's names. Refused here, an unknown one is shown at its own place.
struct OptionName(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for OptionName {
    type Value = &'static str;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for OptionName {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an option")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        let known = self.0.iter().find(|known| **known == name);
        known.copied().ok_or_else(|| {
            E::custom(format_args!(
                "there is no such option; the options are {}",
                self.0.join(", ")
            ))
        })
    }
}

/// A table inside another one.
pub(super) struct Section<T>(PhantomData<fn() -> T>);

impl<T> Section<T> {
    pub(super) const fn new() -> Self {
        Section(PhantomData)
    }
}

impl<T> Clone for Section<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Section<T> {}

impl<'de, T: Table + Default> DeserializeSeed<'de> for Section<T> {
    type Value = T;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        let mut table = T::default();
        Options(&mut table).deserialize(from)?;
        Ok(table)
    }
}

impl<T: Table + Default> Rule for Section<T> {
    type Of = T;
    fn expected(&self) -> String {
        format!("acceptable values for {}", T::OPTIONS.join(", "))
    }
    fn holds(&self, table: &T) -> bool {
        table.hold().is_ok()
    }
}
