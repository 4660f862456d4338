//! References to objects, as values.

use super::{
    Interface, MAX_SPOKEN_VERSIONS, Serves, spoken_versions,
    versions::decode_request_of_any_version,
};
use crate::{
    channel::{self, CallFailure, Callback, HostedCallback},
    codec,
    message::SpokenVersion,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, io, marker::PhantomData, sync::Arc};
use tarpc::ServerError;

/// A reference to an object of the interface `I`: a parameter or a result like any other value. The receiver
/// makes a proxy of it with `Client::remote`.
///
/// It leads to an object by its name, to the instance at one worker, or to a callback: an object that a client hosts
/// itself (`Client::host`), and that a worker calls over the client's connection. A callback is handed over in a
/// parameter, also in a field of one, and in no other place. It is hosted as long as its client keeps the reference or a
/// copy of it, and at least during the calls in which it is handed over.
///
/// A reference carries no rights. A proxy of it calls with the rights of its own client.
///
/// In JSON it is `{"object": "name"}`, `{"object": "name", "worker": "w1"}`, or the name alone. A callback has no form in
/// JSON.
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
    /// Shared, so that requests with references stay small.
    target: Arc<RemoteTarget>,
    interface: PhantomData<fn() -> I>,
}

/// What a reference leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// An object that a client hosts.
    Callback(Callback),
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

    /// A reference to an object that this process hosts for callbacks. Requests and answers may hold no streams and no
    /// callbacks.
    pub fn hosted<S>(service: S) -> Self
    where
        I: Serves<S>,
        S: Clone + Send + Sync + 'static,
    {
        let invalid =
            |what: String| CallFailure::Failed(ServerError::new(io::ErrorKind::InvalidData, what));
        let hosted = HostedCallback::new(move |context, request: Vec<u8>| {
            let service = service.clone();
            async move {
                let request = decode_request_of_any_version::<I>(&request)
                    .map_err(|error| invalid(format!("the request cannot be decoded: {error}")))?;
                let served = I::serve(service, context, request).await;
                codec::encode(&served.map_err(CallFailure::Failed)?)
                    .map_err(|error| invalid(format!("the response cannot be encoded: {error}")))
            }
        });
        Self::to(RemoteTarget::Callback(Callback::Hosted(hosted)))
    }

    fn to(target: RemoteTarget) -> Self {
        Self {
            target: Arc::new(target),
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
        Self {
            target: Arc::clone(&self.target),
            interface: PhantomData,
        }
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
        match &*self.target {
            RemoteTarget::Object { object } => f.write_str(object),
            RemoteTarget::Instance { object, worker } => write!(f, "{object} at {worker}"),
            RemoteTarget::Callback(_) => f.write_str("a callback"),
        }
    }
}

/// A reference in the binary encoding.
#[derive(Serialize, Deserialize)]
enum BinaryRemote {
    Object {
        object: String,
    },
    Instance {
        object: String,
        worker: String,
    },
    /// Its client speaks version 1 of the interface, and no other.
    Callback {
        callback: u64,
    },
    CallbackIn {
        callback: u64,
        spoken: Vec<SpokenVersion>,
    },
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

/// The versions of its interface that the client of a callback speaks; empty if that is version 1 alone.
fn spoken_of<I: Interface>(callback: &Callback) -> Vec<SpokenVersion> {
    match callback {
        Callback::Hosted(_) if I::VERSION == 1 => Vec::new(),
        Callback::Hosted(_) => spoken_versions::<I>().to_vec(),
        // It is passed on.
        Callback::Received(received) => received.spoken().to_vec(),
    }
}

fn received<E: de::Error>(
    callback: u64,
    mut spoken: Vec<SpokenVersion>,
) -> Result<RemoteTarget, E> {
    spoken.truncate(MAX_SPOKEN_VERSIONS as usize);
    let received = channel::receive_callback(callback, spoken).map_err(E::custom)?;
    Ok(RemoteTarget::Callback(Callback::Received(received)))
}

impl<I: Interface> Serialize for Remote<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            let remote = match (*self.target).clone() {
                RemoteTarget::Object { object } => BinaryRemote::Object { object },
                RemoteTarget::Instance { object, worker } => {
                    BinaryRemote::Instance { object, worker }
                }
                RemoteTarget::Callback(callback) => {
                    let spoken = spoken_of::<I>(&callback);
                    let callback = channel::hand_over(&callback);
                    let callback = callback.map_err(serde::ser::Error::custom)?;
                    match spoken.is_empty() {
                        true => BinaryRemote::Callback { callback },
                        false => BinaryRemote::CallbackIn { callback, spoken },
                    }
                }
            };
            return remote.serialize(serializer);
        }
        let fields = match (*self.target).clone() {
            RemoteTarget::Object { object } => JsonFields {
                object,
                worker: None,
            },
            RemoteTarget::Instance { object, worker } => JsonFields {
                object,
                worker: Some(worker),
            },
            RemoteTarget::Callback(_) => {
                let what = "a callback has no form in JSON";
                return Err(serde::ser::Error::custom(what));
            }
        };
        fields.serialize(serializer)
    }
}

impl<'de, I> Deserialize<'de> for Remote<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if channel::is_tracing_shapes() {
            // Its own form is no matter of the interface that it is in.
            return Ok(Self::object(""));
        }
        if !deserializer.is_human_readable() {
            return Ok(Self::to(match BinaryRemote::deserialize(deserializer)? {
                BinaryRemote::Object { object } => RemoteTarget::Object { object },
                BinaryRemote::Instance { object, worker } => {
                    RemoteTarget::Instance { object, worker }
                }
                BinaryRemote::Callback { callback } => received(callback, Vec::new())?,
                BinaryRemote::CallbackIn { callback, spoken } => received(callback, spoken)?,
            }));
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
            "additionalProperties": false,
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
