//! `pyroxene up`
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}
pub(crate) async fn run(_: Arguments) -> Result<(), crate::failure::Failure> {
    Ok(())
}
