use super::*;
use crate::directory::{DirectoryLimits, InstanceDirectory};
use tokio::time::Instant;

fn names() -> DirectoryNames {
    let directory = InstanceDirectory::new(DirectoryLimits::default(), 1, 1, Instant::now());
    let directory = DirectoryService::new(directory);
    let instances = PythonInstances::new(directory.clone(), None, CancellationToken::new());
    DirectoryNames {
        directory,
        instances,
    }
}

fn uri(text: &str) -> String {
    text.to_owned()
}

#[tokio::test]
async fn a_registered_name_is_a_static_name() {
    let names = names();
    let tags = vec!["t".to_owned()];
    let at = uri("PYRO:obj.1@nowhere.example:4444");
    names
        .register("a".to_owned(), at.clone(), tags.clone())
        .await
        .unwrap();
    let found = names.find("a".to_owned()).await.unwrap().unwrap();
    assert!(found.is_registered);
    assert_eq!(found.instances[0].uri, at);
    assert_eq!(found.instances[0].tags, tags);
    let listed = names.directory.instances("a");
    assert_eq!(listed[0].target, "PYRO:obj.1");
    names.set_tags("a".to_owned(), Vec::new()).await.unwrap();
    let all = names.all(String::new()).await.unwrap();
    assert_eq!((all.len(), all[0].instances[0].tags.len()), (1, 0));
    assert_eq!(names.remove("a".to_owned()).await, Ok(true));
    assert_eq!(names.remove("a".to_owned()).await, Ok(false));
    assert_eq!(names.find("a".to_owned()).await, Ok(None));
}

#[tokio::test]
async fn unix_sockets_can_be_registered() {
    let names = names();
    let at = uri("PYRO:o@./u:/tmp/socket");
    names
        .register("a".to_owned(), at.clone(), Vec::new())
        .await
        .unwrap();
    let found = names.find("a".to_owned()).await.unwrap().unwrap();
    assert_eq!(found.instances[0].uri, at);
}

#[tokio::test]
async fn names_may_lead_to_other_names() {
    let names = names();
    let at = uri("PYRONAME:other");
    names
        .register("a".to_owned(), at.clone(), Vec::new())
        .await
        .unwrap();
    let found = names.find("a".to_owned()).await.unwrap().unwrap();
    assert_eq!(found.instances[0].uri, at);
}

#[tokio::test]
async fn registrations_with_the_tag_are_instances_of_one_name() {
    let names = names();
    let tags = vec![INSTANCE_TAG.to_owned()];
    for port in [1, 2] {
        let at = uri(&format!("PYRO:o{port}@127.0.0.1:{port}"));
        names
            .register("a".to_owned(), at, tags.clone())
            .await
            .unwrap();
    }
    let found = names.find("a".to_owned()).await.unwrap().unwrap();
    let uris: Vec<_> = found.instances.iter().map(|one| one.uri.clone()).collect();
    assert_eq!(uris, ["PYRO:o1@127.0.0.1:1", "PYRO:o2@127.0.0.1:2"]);
    assert!(found.is_registered);
    assert_eq!(names.remove("a".to_owned()).await, Ok(true));
}
