//! `[kafka.properties]`: settings handed to the Kafka client as they are, and the secrets among them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// A text that no log, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one who needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The value of a client property. Debug output shows none: a secret may hide under a misspelt name.
#[derive(Clone, PartialEq, Eq)]
pub enum Property {
    /// Text of the file; numbers and booleans as they are written.
    Plain(String),
    /// An environment variable that has not been looked up.
    Variable(String),
    /// What an environment variable held.
    Secret(Secret),
}

impl Property {
    /// The value for the client. `None` if it was not looked up.
    pub fn expose(&self) -> Option<&str> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Variable(_) => None,
            Self::Secret(secret) => Some(secret.expose()),
        }
    }
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("Plain(***)"),
            Self::Variable(name) => f.debug_tuple("Variable").field(name).finish(),
            Self::Secret(secret) => f.debug_tuple("Secret").field(secret).finish(),
        }
    }
}

impl<'de> Deserialize<'de> for Property {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PropertyVisitor)
    }
}

struct PropertyVisitor;

impl<'de> Visitor<'de> for PropertyVisitor {
    type Value = Property;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true, false or { env = \"VARIABLE\" }")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Property, E> {
        Ok(Property::Plain(value.to_owned()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Property, E> {
        Ok(Property::Plain(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Property, E> {
        Ok(Property::Plain(value.to_string()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Property, E> {
        Ok(Property::Plain(value.to_string()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Property, A::Error> {
        let wrong = || {
            A::Error::custom("a table here is { env = \"VARIABLE\" }; a property with dots stands in quotes: \"sasl.password\"")
        };
        match table.next_entry::<String, String>() {
            Ok(Some((key, variable))) if key == "env" => match table.next_key::<String>()? {
                None => Ok(Property::Variable(variable)),
                Some(_) => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

/// Whether what goes by this name is secret: its value may come from the environment only and is never shown.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let public = ["certificate.pem", "ca.pem"].iter().any(|public| name.contains(public));
    let secret = ["password", "passwd", "passphrase", "secret", ".pem", "token"].iter().any(|word| name.contains(word));
    // The address and the lifetime of tokens are no secrets.
    secret && !public && !name.contains("token.endpoint")
}

/// Why a property can't be set in the table: the program relies on its value, or has a key of its own for it.
pub(super) fn refusal(name: &str) -> Option<&'static str> {
    Some(match name {
        "bootstrap.servers" | "metadata.broker.list" => "set `brokers` in [kafka]",
        "group.id" => "set `group` in [kafka]",
        "transactional.id" => "it is made of `group` and `instance` in [kafka]: a stable one fences off a forgotten instance",
        "transaction.timeout.ms" => "set `transaction_timeout_ms` in [kafka]",
        "session.timeout.ms" => "set `session_timeout_ms` in [kafka]",
        "auto.offset.reset" => "set `start` in [kafka]",
        "enable.auto.commit" | "auto.commit.enable" | "auto.commit.interval.ms" | "enable.auto.offset.store" => {
            "offsets are committed in the transaction that publishes the scores, and nowhere else"
        }
        "isolation.level" => "only committed records are read: an aborted one would be false evidence",
        "enable.idempotence" | "acks" | "request.required.acks" => "transactions need idempotent, fully acknowledged writes",
        "enable.gapless.guarantee" => "an aborted transaction is repeated by the program itself",
        "group.instance.id" => "set `static_membership = true` in [kafka]: it is then `instance`",
        "message.max.bytes" => "the program sets it: what is larger is cut, or sent in chunks",
        "statistics.interval.ms" => "the program sets it: the lag is measured by it",
        "enable.partition.eof" => "the end of a partition is told by its high watermark",
        _ => return None,
    })
}
