//! References to objects, as values.

use super::Interface;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Cow, fmt, marker::PhantomData};

/// A reference to an object of the interface `I`: a parameter or a result like any other value. Whoever gets it
/// makes a proxy of it with `Client::remote`.
///
/// A reference carries no rights. A proxy of it calls with the rights of its own client.
///
/// In JSON it is `{"object": "name"}`, `{"object": "name", "worker": "w1"}`, or the name alone.
///
/// ```
/// use pyroxene_common::{Remote, interfaces::tasks::Tasks};
///
/// let remote: Remote<Tasks> = Remote::object("pyroxene.tasks");
/// assert_eq!(serde_json::to_string(&remote)?, r#"{"object":"pyroxene.tasks"}"#);
/// let at_one_worker: Remote<Tasks> = serde_json::from_str(r#"{"object": "a", "worker": "w1"}"#)?;
/// assert_eq!(at_one_worker.to_string(), "a at w1");
/// # Ok::<(), serde_json::Error>(())
/// ```
pub struct Remote<I> {
    target: RemoteTarget,
    interface: PhantomData<fn() -> I>,
}

/// What a reference leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoteTarget {
    /// Any instance of an object.
    Object {
        /// The object's name.
        object: String,
    },
    /// The instances of an object at one worker.
    Instance {
        /// The object's name.
        object: String,
        /// The worker's name.
        worker: String,
    },
}

impl<I> Remote<I> {
    /// A reference to the object of this name.
    pub fn object(name: impl Into<String>) -> Self {
        Self::to(RemoteTarget::Object {
            object: name.into(),
        })
    }

    /// A reference to the instance of an object at the worker of this name.
    pub fn instance(name: impl Into<String>, worker: impl Into<String>) -> Self {
        Self::to(RemoteTarget::Instance {
            object: name.into(),
            worker: worker.into(),
        })
    }

    fn to(target: RemoteTarget) -> Self {
        Self {
            target,
            interface: PhantomData,
        }
    }

    /// What it leads to.
    pub fn target(&self) -> &RemoteTarget {
        &self.target
    }
}

impl<I> Clone for Remote<I> {
    fn clone(&self) -> Self {
        Self::to(self.target.clone())
    }
}

impl<I> PartialEq for Remote<I> {
    fn eq(&self, other: &Self) -> bool {
        self.target == other.target
    }
}

impl<I> Eq for Remote<I> {}

impl<I> fmt::Debug for Remote<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({self})")
    }
}

impl<I> fmt::Display for Remote<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            RemoteTarget::Object { object } => f.write_str(object),
            RemoteTarget::Instance { object, worker } => write!(f, "{object} at {worker}"),
        }
    }
}

/// A reference in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum JsonRemote {
    Name(String),
    Fields(JsonFields),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonFields {
    object: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
}

impl<I> Serialize for Remote<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return self.target.serialize(serializer);
        }
        let fields = match self.target.clone() {
            RemoteTarget::Object { object } => JsonFields {
                object,
                worker: None,
            },
            RemoteTarget::Instance { object, worker } => JsonFields {
                object,
                worker: Some(worker),
            },
        };
        fields.serialize(serializer)
    }
}

impl<'de, I> Deserialize<'de> for Remote<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return RemoteTarget::deserialize(deserializer).map(Self::to);
        }
        Ok(match JsonRemote::deserialize(deserializer)? {
            JsonRemote::Name(object)
            | JsonRemote::Fields(JsonFields {
                object,
                worker: None,
            }) => Self::object(object),
            JsonRemote::Fields(JsonFields {
                object,
                worker: Some(worker),
            }) => Self::instance(object, worker),
        })
    }
}

/// The entry of a schema that marks a reference. Its value is the name of the interface.
pub const REMOTE_MARK: &str = "x-remote";

impl<I: Interface> JsonSchema for Remote<I> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Remote_{}", I::NAME).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "object"],
            "properties": {
                "object": { "type": "string" },
                "worker": { "type": "string" },
            },
            "required": ["object"],
            REMOTE_MARK: I::NAME,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{codec, interfaces::tasks::Tasks};
    use serde_json::json;

    fn json(remote: &Remote<Tasks>) -> serde_json::Value {
        serde_json::to_value(remote).unwrap()
    }

    #[test]
    fn a_reference_is_the_same_after_it_was_sent() {
        for remote in [Remote::<Tasks>::object("a"), Remote::instance("a", "w1")] {
            let sent = codec::encode(&remote).unwrap();
            assert_eq!(codec::decode::<Remote<Tasks>>(&sent).unwrap(), remote);
            let shown: Remote<Tasks> = serde_json::from_value(json(&remote)).unwrap();
            assert_eq!(shown, remote);
        }
        let sent = codec::encode(&Remote::<Tasks>::object("a")).unwrap();
        assert_eq!(sent, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'a']);
    }

    #[test]
    fn json_is_a_name_or_an_object_without_other_fields() {
        let read = |value| serde_json::from_value::<Remote<Tasks>>(value);
        assert_eq!(read(json!("a")).unwrap(), Remote::object("a"));
        assert_eq!(json(&Remote::object("a")), json!({"object": "a"}));
        assert!(read(json!({"object": "a", "workers": "w1"})).is_err());
        assert!(read(json!(1)).is_err());
        let schema = schemars::schema_for!(Remote<Tasks>);
        assert_eq!(schema.get(REMOTE_MARK), Some(&json!("pyroxene.Tasks")));
    }
}
