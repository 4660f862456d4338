//! The schema that belongs to a store alone, on a server that it shares with others.

use crate::{
    harness::{Place, Server, call, execute, submit},
    transfer::{export, furnish},
};
use pyroxene_store::{Store, StoreError, StoreOptions, StoreUrl};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::sync::Arc;

/// A database with two roles, neither of which is a superuser: `owner`, for the store, may create schemas;
/// `stranger` may create one of its own.
struct Shared {
    server: Arc<Server>,
    database: String,
    owner: String,
    stranger: String,
}

impl Shared {
    async fn new() -> Self {
        let server = Server::shared().await;
        let url = server.new_database().await;
        let database = url.split(['/', '?']).nth(3).unwrap().to_owned();
        let shared = Self {
            owner: format!("owner_{database}"),
            stranger: format!("stranger_{database}"),
            server,
            database,
        };
        let (owner, stranger) = (&shared.owner, &shared.stranger);
        let database = &shared.database;
        shared
            .sql(&format!(
                "CREATE ROLE {owner} LOGIN; CREATE ROLE {stranger} LOGIN;
                 GRANT CREATE ON DATABASE {database} TO {owner};
                 GRANT CREATE ON SCHEMA public TO {owner};
                 CREATE SCHEMA strange AUTHORIZATION {stranger};
                 GRANT USAGE ON SCHEMA strange TO {owner}"
            ))
            .await;
        shared
    }

    fn url(&self, role: &str) -> String {
        let url = self.server.url(&self.database);
        url.replace("pyroxene@", &format!("{role}@"))
    }

    /// The address of the store for its owner.
    fn place(&self) -> Place {
        Place::at(StoreUrl::Postgres(self.url(&self.owner)))
    }

    /// Runs statements as a superuser.
    async fn sql(&self, statements: &str) {
        self.server
            .execute(&self.database, statements.to_owned())
            .await;
    }

    async fn sql_as(&self, role: &str, statements: &str) {
        execute(&self.url(role), statements.to_owned()).await;
    }

    /// The first column of a result, in order.
    async fn ask(&self, question: &str) -> Vec<String> {
        let url = self.server.url(&self.database);
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let asked = sqlx::query_scalar(AssertSqlSafe(question.to_owned()));
        asked.fetch_all(&mut connection).await.unwrap()
    }

    /// The tables of a schema, their indexes and sequences.
    async fn relations(&self, schema: &str) -> Vec<String> {
        let question = format!(
            "SELECT relname::text FROM pg_class WHERE relnamespace = '{schema}'::regnamespace \
             ORDER BY 1"
        );
        self.ask(&question).await
    }

    async fn refusal(&self) -> StoreError {
        let place = self.place();
        let refused = Store::open(&place.url, place.options()).await;
        refused.map(|_| ()).unwrap_err()
    }

    /// The store is refused with a message that has these words and a statement. After the statement was run,
    /// it opens.
    async fn is_refused_until_mended(&self, words: &str, mend: &str) {
        let error = self.refusal().await;
        assert!(matches!(error, StoreError::Untrusted(_)), "{error:?}");
        assert!(!error.is_transient());
        let sentence = error.to_string();
        assert!(sentence.contains(words), "{sentence}");
        assert!(sentence.contains(mend), "{sentence}");
        self.sql(mend).await;
        self.place().open().await.close().await.unwrap();
    }

    /// Moves the tables to where earlier versions had them.
    async fn make_old(&self) {
        self.sql_as(
            &self.owner,
            "DO $$ DECLARE name text; BEGIN
             FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'pyroxene' LOOP
                 EXECUTE format('ALTER TABLE pyroxene.%I SET SCHEMA public', name);
             END LOOP; END $$;
             DROP SCHEMA IF EXISTS pyroxene",
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_in_the_stores_own_schema_wherever_the_path_of_the_role_leads() {
    let shared = Shared::new().await;
    let (owner, stranger) = (&shared.owner, &shared.stranger);
    // The schema that every role searches first, full of tables and functions of another role.
    shared
        .sql(&format!(
            "CREATE SCHEMA {owner} AUTHORIZATION {stranger}; GRANT ALL ON SCHEMA {owner} TO {owner};
             ALTER ROLE {owner} SET search_path TO {owner}, pg_catalog, public"
        ))
        .await;
    let traps = format!(
        "CREATE TABLE {owner}.pyroxene_schema (version BIGINT NOT NULL);
         INSERT INTO {owner}.pyroxene_schema VALUES (8);
         CREATE TABLE {owner}.tasks (id BYTEA);
         CREATE FUNCTION {owner}.pg_advisory_xact_lock(BIGINT) RETURNS void
             LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
         CREATE FUNCTION {owner}.pg_is_in_recovery() RETURNS bool
             LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
         GRANT ALL ON ALL TABLES IN SCHEMA {owner} TO {owner}"
    );
    shared.sql_as(stranger, &traps).await;
    let store = shared.place().open().await;
    submit(&store, call("calc")).await;
    assert_eq!(store.check().await.unwrap(), [""; 0]);
    store.close().await.unwrap();
    let places = "SELECT DISTINCT schemaname::text FROM pg_tables WHERE tablename IN \
                  ('topics', 'task_usage', 'name_servers')";
    assert_eq!(shared.ask(places).await, ["pyroxene"]);
    let trapped = format!("SELECT count(*)::text FROM {owner}.tasks");
    assert_eq!(shared.ask(&trapped).await, ["0"]);
    let kept = "SELECT count(*)::text FROM pyroxene.tasks";
    assert_eq!(shared.ask(kept).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_or_a_rule_on_a_table_is_refused() {
    let shared = Shared::new().await;
    let (owner, stranger) = (&shared.owner, &shared.stranger);
    shared.place().open().await.close().await.unwrap();
    let grant = format!(
        "GRANT USAGE ON SCHEMA pyroxene TO {stranger};
         GRANT TRIGGER ON pyroxene.tasks TO {stranger}"
    );
    shared.sql_as(owner, &grant).await;
    let trap = "CREATE FUNCTION strange.trap() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE 'this ran as %', current_user; END $$;
         CREATE TRIGGER trap BEFORE INSERT ON pyroxene.tasks
             FOR EACH STATEMENT EXECUTE FUNCTION strange.trap()";
    shared.sql_as(stranger, trap).await;
    let may = "may put triggers on table pyroxene.tasks";
    let sentence = shared.refusal().await.to_string();
    assert!(sentence.contains(may), "{sentence}");
    let revoke = format!("REVOKE TRIGGER ON pyroxene.tasks FROM {stranger}");
    shared.sql(&revoke).await;
    let drop = "DROP TRIGGER trap ON pyroxene.tasks";
    let words = "trigger trap on table pyroxene.tasks";
    shared.is_refused_until_mended(words, drop).await;

    let rule = "CREATE RULE quiet AS ON INSERT TO pyroxene.topics DO INSTEAD NOTHING";
    shared.sql_as(owner, rule).await;
    let drop = "DROP RULE quiet ON pyroxene.topics";
    let words = "rule quiet on table pyroxene.topics";
    shared.is_refused_until_mended(words, drop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_and_what_is_in_it_must_be_the_roles_own() {
    let shared = Shared::new().await;
    let (owner, stranger) = (&shared.owner, &shared.stranger);
    let make = format!(
        "CREATE SCHEMA pyroxene AUTHORIZATION {stranger}; GRANT ALL ON SCHEMA pyroxene TO {owner}"
    );
    shared.sql(&make).await;
    let words = format!("schema pyroxene belongs to role {stranger}");
    let mend = format!("ALTER SCHEMA pyroxene OWNER TO {owner}");
    shared.is_refused_until_mended(&words, &mend).await;

    let give = format!("ALTER TABLE pyroxene.tasks OWNER TO {stranger}");
    shared.sql(&give).await;
    let words = format!("table pyroxene.tasks belongs to role {stranger}");
    let mend = format!("ALTER TABLE pyroxene.tasks OWNER TO {owner}");
    shared.is_refused_until_mended(&words, &mend).await;

    let function = format!(
        "CREATE FUNCTION pyroxene.length(text) RETURNS int LANGUAGE sql AS 'SELECT 1';
         ALTER FUNCTION pyroxene.length(text) OWNER TO {stranger}"
    );
    shared.sql(&function).await;
    let words = "function pyroxene.length(text) belongs to role";
    let mend = "DROP ROUTINE pyroxene.length(text)";
    shared.is_refused_until_mended(words, mend).await;

    // A role of which the current one is a member is trusted like the current one.
    let group = format!("group_{}", shared.database);
    let give = format!(
        "CREATE ROLE {group}; GRANT {group} TO {owner}; ALTER SCHEMA pyroxene OWNER TO {group}"
    );
    shared.sql(&give).await;
    shared.place().open().await.close().await.unwrap();

    // The owner of an object that a superuser uses could make the superuser do anything.
    let place = Place::at(StoreUrl::Postgres(shared.server.url(&shared.database)));
    let error = Store::open(&place.url, place.options()).await.unwrap_err();
    assert!(matches!(error, StoreError::Untrusted(_)), "{error:?}");
    assert!(error.to_string().contains("more;"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_in_which_others_may_make_things_is_refused() {
    let shared = Shared::new().await;
    let (owner, stranger) = (&shared.owner, &shared.stranger);
    let make = format!("CREATE SCHEMA pyroxene AUTHORIZATION {owner}");
    shared.sql(&make).await;
    let open = "GRANT CREATE ON SCHEMA pyroxene TO PUBLIC";
    shared.sql(open).await;
    let words = "everybody may make things in schema pyroxene";
    let mend = "REVOKE CREATE ON SCHEMA pyroxene FROM PUBLIC";
    shared.is_refused_until_mended(words, mend).await;
    // Read access is no danger.
    let open = format!(
        "GRANT ALL ON SCHEMA pyroxene TO {stranger};
         GRANT SELECT ON ALL TABLES IN SCHEMA pyroxene TO {stranger}"
    );
    shared.sql(&open).await;
    let words = format!("role {stranger} may make things in schema pyroxene");
    let mend = format!("REVOKE CREATE ON SCHEMA pyroxene FROM {stranger}");
    shared.is_refused_until_mended(&words, &mend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_make_no_schema_is_told_what_to_have_done() {
    let shared = Shared::new().await;
    let (owner, database) = (&shared.owner, &shared.database);
    let revoke = format!("REVOKE CREATE ON DATABASE {database} FROM {owner}");
    shared.sql(&revoke).await;
    let error = shared.refusal().await;
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    let statement = format!("CREATE SCHEMA pyroxene AUTHORIZATION {owner}");
    assert!(error.to_string().contains(&statement), "{error}");
    shared.sql(&statement).await;
    shared.place().open().await.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_an_earlier_version_is_moved_with_all_that_is_in_it() {
    let shared = Shared::new().await;
    let place = shared.place();
    let store = place.open().await;
    furnish(&store).await;
    let lines = export(&store).await;
    store.close().await.unwrap();
    let relations = shared.relations("pyroxene").await;
    shared.make_old().await;
    assert_eq!(shared.relations("public").await, relations);

    // Also if no schema may be created, and two processes begin at once.
    let options = StoreOptions {
        create: false,
        ..place.options()
    };
    let (one, two) = tokio::join!(
        Store::open(&place.url, options.clone()),
        Store::open(&place.url, options)
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(export(&one).await == lines, "all of it is there");
    assert_eq!(two.check().await.unwrap(), [""; 0]);
    assert_eq!(shared.relations("public").await, [""; 0]);
    assert_eq!(shared.relations("pyroxene").await, relations);
    submit(&two, call("calc")).await;
    one.close().await.unwrap();
    two.close().await.unwrap();
}

/// A store of an earlier version, in one schema with the tables of another program of the same role. Tables
/// that this version of the store did not have yet belong to that program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_other_programs_are_left_alone() {
    let shared = Shared::new().await;
    let owner = &shared.owner;
    let tables = "CREATE TABLE public.tasks (what TEXT); INSERT INTO public.tasks VALUES ('sweep');
         CREATE TABLE public.pyroxene_schema (mineral TEXT); CREATE VIEW public.topics AS SELECT 1";
    shared.sql_as(owner, tables).await;
    let store = shared.place().open().await;
    submit(&store, call("calc")).await;
    store.close().await.unwrap();
    let left = shared.relations("public").await;
    assert_eq!(left, ["pyroxene_schema", "tasks", "topics"]);
    let kept = shared.ask("SELECT what FROM public.tasks").await;
    assert_eq!(kept, ["sweep"]);

    let shared = Shared::new().await;
    let owner = &shared.owner;
    let scripts = [
        include_str!("../../src/schema/postgres_1.sql"),
        include_str!("../../src/schema/postgres_2.sql"),
        include_str!("../../src/schema/postgres_3.sql"),
        include_str!("../../src/schema/postgres_4.sql"),
        include_str!("../../src/schema/postgres_5.sql"),
        "CREATE TABLE pyroxene_schema (version BIGINT NOT NULL);
         INSERT INTO pyroxene_schema VALUES (5);
         INSERT INTO counters VALUES ('mark', 7);
         CREATE TABLE name_servers (zone TEXT)",
    ];
    shared.sql_as(owner, &scripts.join("\n")).await;
    let store = shared.place().open().await;
    assert_eq!(store.check().await.unwrap(), [""; 0]);
    store.close().await.unwrap();
    assert_eq!(shared.relations("public").await, ["name_servers"]);
    let marks = "SELECT value::text FROM pyroxene.counters WHERE name = 'mark'";
    assert_eq!(shared.ask(marks).await, ["7"]);
}

/// Nothing is moved, and nothing is created beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_an_earlier_version_that_is_not_safe_or_whole_stays_where_it_is() {
    let shared = Shared::new().await;
    let (owner, stranger) = (&shared.owner, &shared.stranger);
    shared.place().open().await.close().await.unwrap();
    shared.make_old().await;
    let relations = shared.relations("public").await;
    let grant = format!("GRANT TRIGGER ON public.tasks TO {stranger}");
    shared.sql_as(owner, &grant).await;
    let error = shared.refusal().await;
    assert!(matches!(error, StoreError::Untrusted(_)), "{error:?}");
    assert_eq!(shared.relations("public").await, relations);
    let words = format!("role {stranger} may put triggers on table public.tasks");
    let mend = format!("REVOKE TRIGGER ON public.tasks FROM {stranger}");
    shared.is_refused_until_mended(&words, &mend).await;

    shared.make_old().await;
    shared
        .sql("ALTER TABLE public.tasks RENAME TO chores")
        .await;
    let error = shared.refusal().await;
    assert!(matches!(error, StoreError::NotAStore(_)), "{error:?}");
    assert!(error.to_string().contains("missing: tasks"), "{error}");
    let made = shared.ask("SELECT nspname::text FROM pg_namespace WHERE nspname = 'pyroxene'");
    assert_eq!(made.await, [""; 0]);
}

/// An earlier program that is started later creates a store of its own in the old schema.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_stores_the_one_in_the_own_schema_counts() {
    let shared = Shared::new().await;
    let store = shared.place().open().await;
    submit(&store, call("calc")).await;
    store.close().await.unwrap();
    let other = "CREATE TABLE public.pyroxene_schema (version BIGINT NOT NULL);
         INSERT INTO public.pyroxene_schema VALUES (8); CREATE TABLE public.tasks (id BYTEA)";
    shared.sql_as(&shared.owner, other).await;
    let store = shared.place().open().await;
    assert_eq!(store.counts().await.unwrap().queued, 1);
    let left = shared.relations("public").await;
    assert_eq!(left, ["pyroxene_schema", "tasks"]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_make_the_schema_at_once_share_it() {
    let shared = Shared::new().await;
    // Also if transactions do not see what was committed since they began.
    let isolated = format!(
        "ALTER ROLE {} SET default_transaction_isolation TO 'repeatable read'",
        shared.owner
    );
    shared.sql(&isolated).await;
    let place = shared.place();
    let opening = (0..6).map(|_| {
        let (url, options) = (place.url.clone(), place.options());
        tokio::spawn(async move { Store::open(&url, options).await.unwrap() })
    });
    for opening in opening.collect::<Vec<_>>() {
        opening.await.unwrap().close().await.unwrap();
    }
    assert!(
        shared
            .relations("pyroxene")
            .await
            .contains(&"tasks".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_may_name_another_schema() {
    let shared = Shared::new().await;
    let place = |options: &str| {
        let url = format!("{}&{options}", shared.url(&shared.owner));
        Place::at(url.parse().unwrap())
    };
    let (one, two) = (
        place("options[search_path]=one"),
        place("options=-c%20search_path%3Dtwo"),
    );
    let store = one.open().await;
    submit(&store, call("calc")).await;
    let other = two.open().await;
    assert_eq!(other.counts().await.unwrap().queued, 0);
    submit(&other, call("calc")).await;
    submit(&other, call("calc")).await;
    assert_eq!(store.counts().await.unwrap().queued, 1);
    assert_eq!(other.counts().await.unwrap().queued, 2);
    let places =
        "SELECT schemaname::text FROM pg_tables WHERE tablename = 'name_servers' ORDER BY 1";
    assert_eq!(shared.ask(places).await, ["one", "two"]);
    store.close().await.unwrap();
    other.close().await.unwrap();
}

/// As `store check` and `store export` open it, on a server that permits no writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_written_to_can_be_read() {
    let shared = Shared::new().await;
    let place = shared.place();
    let store = place.open().await;
    furnish(&store).await;
    let lines = export(&store).await;
    store.close().await.unwrap();
    let (owner, database) = (&shared.owner, &shared.database);
    let freeze = format!(
        "REVOKE CREATE ON DATABASE {database} FROM {owner};
         ALTER DATABASE {database} SET default_transaction_read_only = on"
    );
    shared.sql(&freeze).await;
    let store = Store::open(&place.url, StoreOptions::default())
        .await
        .unwrap();
    assert_eq!(store.check().await.unwrap(), [""; 0]);
    assert!(export(&store).await == lines, "all of it can be read");
    store.close().await.unwrap();
}
