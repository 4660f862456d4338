//! Generates the stubs of the gRPC peer. The service is described in this file instead of a `.proto`
//! file, so that building needs no protoc.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let message = "crate::rpc::systems::tonic_peer::Message";
    let echo = Method::builder()
        .name("echo")
        .route_name("Echo")
        .input_type(message)
        .output_type(message)
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let repeat = Method::builder()
        .name("repeat")
        .route_name("Repeat")
        .input_type(message)
        .output_type(message)
        .server_streaming()
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let service = Service::builder()
        .package("bench")
        .name("Echo")
        .method(echo)
        .method(repeat)
        .build();
    Builder::new().compile(&[service]);
}
