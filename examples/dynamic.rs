//! A call in JSON of an object whose interface the program does not know.
//!
//! ```text
//! cargo run --example dynamic --features nameserver                    # an object in the same process
//! cargo run --example dynamic --features nameserver -- 127.0.0.1:9090 calculator factorial '{"n": 30}'
//! ```

use pyroxene::{
    Client, DynamicError, NameServer, NameServerConfig, Worker, interface,
    tarpc::context::{self, Context},
};
use serde_json::{Value, json};
use std::{env, error::Error};

interface! {
    /// Rooms of a house.
    #[name = "Example.House"]
    #[version = 1]
    pub trait House in house {
        /// The temperature of a room, in degrees Celsius.
        #[idempotent]
        async fn temperature(room: String) -> Result<f64, String>;
        /// The names of all rooms.
        #[idempotent]
        async fn rooms() -> Vec<String>;
    }
}

#[derive(Clone)]
struct Cottage;

impl house::House for Cottage {
    async fn temperature(self, _: Context, room: String) -> Result<f64, String> {
        match &*room {
            "kitchen" => Ok(21.5),
            "cellar" => Ok(12.0),
            _ => Err(format!("there is no room '{room}'")),
        }
    }

    async fn rooms(self, _: Context) -> Vec<String> {
        vec!["kitchen".to_owned(), "cellar".to_owned()]
    }
}

/// Prints the object's methods, as the object describes itself.
async fn describe(client: &Client, name: &str) -> Result<(), DynamicError> {
    let object = client.dynamic(name, context::current()).await?;
    let description = object.description();
    println!(
        "{name} is {} version {}",
        description.interface, description.version
    );
    for method in &description.methods {
        let parameters = method.parameters.iter();
        let parameters: Vec<&str> = parameters.map(|parameter| &*parameter.name).collect();
        let doc = method.doc.lines().next().unwrap_or_default();
        println!("  {}({})  {doc}", method.name, parameters.join(", "));
    }
    Ok(())
}

/// Calls a method with arguments by name. The answer is JSON text.
async fn call(
    client: &Client,
    name: &str,
    method: &str,
    arguments: &Value,
) -> Result<String, DynamicError> {
    let object = client.dynamic(name, context::current()).await?;
    let answer = object.call(context::current(), method, arguments).await?;
    println!(
        "{name}.{method}({arguments}) = {} from {}",
        answer.response, answer.worker
    );
    Ok(answer.response)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [nameservers, name, method, arguments] = words.as_slice() {
        let client = Client::connect(nameservers).await?;
        describe(&client, name).await?;
        call(&client, name, method, &serde_json::from_str(arguments)?).await?;
        return Ok(());
    }

    let config = NameServerConfig::new("127.0.0.1:0".parse()?);
    let nameserver = NameServer::bind(config).await?;
    let address = nameserver.local_addr().to_string();
    let worker = Worker::builder()
        .nameserver(&address)
        .host("Example.house", House, Cottage);
    let _worker = worker.bind().await?;

    let client = Client::connect(&address).await?;
    describe(&client, "Example.house").await?;
    let rooms = call(&client, "Example.house", "rooms", &json!({})).await?;
    for room in serde_json::from_str::<Vec<String>>(&rooms)? {
        call(
            &client,
            "Example.house",
            "temperature",
            &json!({ "room": room }),
        )
        .await?;
    }
    // The object's own error is `DynamicError::Object`. No answer at all is `DynamicError::Call`.
    let attic = json!({ "room": "attic" });
    match call(&client, "Example.house", "temperature", &attic).await {
        Err(DynamicError::Object(error)) => println!("the object answers an error: {error}"),
        other => return Err(format!("unexpected: {other:?}").into()),
    }
    Ok(())
}
