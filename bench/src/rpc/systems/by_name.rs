//! The dynamic path: methods by name, with arguments and answers in JSON; and the same texts by the typed path.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use pyroxene_client::{Client, DynamicObject, Proxy};
use serde::Serialize;
use tarpc::context;

use super::{
    EchoCaller,
    pyroxene::{EchoService, OBJECT, PyroxeneCaller, callers},
};

/// Finds the object, whose interface this caller does not know.
pub(crate) async fn connect(address: SocketAddr, in_flight: usize) -> Result<Vec<DynamicCaller>> {
    let client = Client::connect(&address.to_string()).await?;
    let object = client.dynamic(OBJECT, context::current()).await?;
    Ok(vec![DynamicCaller(object); in_flight])
}

/// One caller.
#[derive(Clone)]
pub(crate) struct DynamicCaller(DynamicObject);

/// The arguments of the method.
#[derive(Serialize)]
struct TextArguments<'a> {
    payload: &'a str,
}

impl EchoCaller for DynamicCaller {
    async fn echo(&mut self, payload: Bytes) -> Result<impl AsRef<[u8]>> {
        let arguments = TextArguments {
            payload: std::str::from_utf8(&payload)?,
        };
        let answered = self.0.call(context::current(), "text", &arguments).await?;
        let text: String = serde_json::from_str(&answered.response)?;
        Ok(text)
    }
}

/// Resolves the object and balances over its instances.
pub(crate) async fn connect_typed(
    address: SocketAddr,
    in_flight: usize,
) -> Result<Vec<TypedCaller>> {
    let client = Client::connect(&address.to_string()).await?;
    let client = client.object::<EchoService>(OBJECT).await?;
    let callers = callers(client, in_flight);
    Ok(callers.into_iter().map(TypedCaller).collect())
}

/// One caller that sends text.
pub(crate) struct TypedCaller(PyroxeneCaller<Proxy<EchoService>>);

impl EchoCaller for TypedCaller {
    async fn echo(&mut self, payload: Bytes) -> Result<impl AsRef<[u8]>> {
        let text = std::str::from_utf8(&payload)?.to_owned();
        let PyroxeneCaller(client) = &self.0;
        Ok(client.text(context::current(), text).await?)
    }
}
