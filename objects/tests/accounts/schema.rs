//! The schema that belongs to accounts alone, on a server that they share with others.

use crate::place::{Bank, Place, open};
use pyroxene_objects::{AccountsDatabase, AccountsDatabaseError, AccountsObject};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::JoinSet;

/// A database with two roles, neither of which is a superuser. `teller_…`, for the accounts, may create
/// schemas; `stranger_…` may create one of its own.
struct Shared {
    place: Place,
    teller: String,
    stranger: String,
}

impl Shared {
    async fn new() -> Self {
        let place = Place::postgres().await;
        let database = place.url.split(['/', '?']).nth(3).unwrap().to_owned();
        let teller = format!("teller_{database}");
        let stranger = format!("stranger_{database}");
        place
            .execute(&format!(
                "CREATE ROLE {teller} LOGIN; CREATE ROLE {stranger} LOGIN;
                 GRANT CREATE ON DATABASE {database} TO {teller};
                 GRANT CREATE ON SCHEMA public TO {teller};
                 CREATE SCHEMA strange AUTHORIZATION {stranger};
                 GRANT USAGE ON SCHEMA strange TO {teller}"
            ))
            .await;
        Self {
            place,
            teller,
            stranger,
        }
    }

    fn url(&self, role: &str) -> String {
        self.place.url.replace("postgres@", &format!("{role}@"))
    }

    async fn open(&self) -> Bank {
        open(&self.url(&self.teller)).await
    }

    async fn sql_as(&self, role: &str, statements: &str) {
        let mut connection = PgConnection::connect(&self.url(role)).await.unwrap();
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        statements.execute(&mut connection).await.unwrap();
    }

    /// The schemas with a table of this name.
    async fn places(&self, table: &str) -> Vec<String> {
        let mut connection = PgConnection::connect(&self.place.url).await.unwrap();
        let statement =
            "SELECT schemaname::text FROM pg_tables WHERE tablename = $1 ORDER BY schemaname";
        let asked = sqlx::query_scalar(statement).bind(table);
        asked.fetch_all(&mut connection).await.unwrap()
    }

    /// The accounts are refused with a message that has these words and a statement. After the statement was
    /// run, they open.
    async fn are_refused_until_mended(&self, words: &str, mend: &str) {
        let database: AccountsDatabase = self.url(&self.teller).parse().unwrap();
        let error = AccountsObject::open(&database).await.unwrap_err();
        assert!(
            matches!(error, AccountsDatabaseError::Unusable { .. }),
            "{error}"
        );
        let sentence = error.to_string();
        assert!(sentence.contains(words), "{sentence}");
        assert!(sentence.contains(mend), "{sentence}");
        self.place.execute(mend).await;
        drop(self.open().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_in_their_own_schema_wherever_the_path_of_the_role_leads() {
    let shared = Shared::new().await;
    let (teller, stranger) = (&shared.teller, &shared.stranger);
    let trap = format!(
        "CREATE SCHEMA {teller} AUTHORIZATION {stranger}; GRANT ALL ON SCHEMA {teller} TO {teller};
         CREATE TABLE {teller}.accounts_schema (version bigint NOT NULL);
         INSERT INTO {teller}.accounts_schema VALUES (1), (2);
         ALTER TABLE {teller}.accounts_schema OWNER TO {stranger};
         CREATE TABLE {teller}.accounts (name text);
         ALTER TABLE {teller}.accounts OWNER TO {stranger};
         GRANT ALL ON ALL TABLES IN SCHEMA {teller} TO {teller}"
    );
    shared.place.execute(&trap).await;
    let bank = shared.open().await;
    assert_eq!(bank.open("ana", "1").await.unwrap(), "1");
    assert_eq!(bank.query("ana").await.unwrap(), "1");
    let places = shared.places("accounts_requests").await;
    assert_eq!(places, ["pyroxene_accounts"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_by_which_others_could_act_are_refused() {
    let shared = Shared::new().await;
    let (teller, stranger) = (&shared.teller, &shared.stranger);
    let make = format!("CREATE SCHEMA pyroxene_accounts AUTHORIZATION {stranger}");
    shared.place.execute(&make).await;
    let words = format!("schema pyroxene_accounts belongs to role {stranger}");
    let mend = format!("ALTER SCHEMA pyroxene_accounts OWNER TO {teller}");
    shared.are_refused_until_mended(&words, &mend).await;

    let grant = "GRANT CREATE ON SCHEMA pyroxene_accounts TO PUBLIC";
    shared.place.execute(grant).await;
    let words = "everybody may make things in schema pyroxene_accounts";
    let mend = "REVOKE CREATE ON SCHEMA pyroxene_accounts FROM PUBLIC";
    shared.are_refused_until_mended(words, mend).await;

    let grant = format!(
        "GRANT USAGE ON SCHEMA pyroxene_accounts TO {stranger};
         GRANT TRIGGER ON accounts TO {stranger}"
    );
    shared.place.execute(&grant).await;
    let trap = "CREATE FUNCTION strange.trap() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE 'this ran as %', current_user; END $$;
         CREATE TRIGGER trap BEFORE UPDATE ON pyroxene_accounts.accounts
             FOR EACH STATEMENT EXECUTE FUNCTION strange.trap()";
    shared.sql_as(stranger, trap).await;
    let revoke = format!("REVOKE TRIGGER ON accounts FROM {stranger}");
    shared.place.execute(&revoke).await;
    let words = "trigger trap on table pyroxene_accounts.accounts";
    let mend = "DROP TRIGGER trap ON pyroxene_accounts.accounts";
    shared.are_refused_until_mended(words, mend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_make_no_schema_is_told_what_to_have_done() {
    let shared = Shared::new().await;
    let teller = &shared.teller;
    let database = shared.place.url.split(['/', '?']).nth(3).unwrap();
    let revoke = format!("REVOKE CREATE ON DATABASE {database} FROM {teller}");
    shared.place.execute(&revoke).await;
    let mend = format!("CREATE SCHEMA pyroxene_accounts AUTHORIZATION {teller}");
    shared
        .are_refused_until_mended("may not create a schema", &mend)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_of_an_earlier_version_are_moved_and_other_tables_are_left_alone() {
    let shared = Shared::new().await;
    let old = [
        include_str!("../../src/accounts/schema/postgres_1.sql"),
        include_str!("../../src/accounts/schema/postgres_2.sql"),
        "CREATE TABLE accounts_schema (version bigint NOT NULL);
         INSERT INTO accounts_schema VALUES (1), (2);
         INSERT INTO accounts VALUES ('ana', 5, 7.50);
         INSERT INTO accounts_requests VALUES ('r1', 'ana', NULL, 2.50, 7.50, NULL)",
    ];
    shared.sql_as(&shared.teller, &old.join("\n")).await;
    let mut opening = JoinSet::new();
    for _ in 0..4 {
        let url = shared.url(&shared.teller);
        opening.spawn(async move { open(&url).await });
    }
    for bank in opening.join_all().await {
        assert_eq!(bank.query("ana").await.unwrap(), "7.50");
        assert_eq!(bank.update("ana", "2.50", "r1").await.unwrap(), "7.50");
    }
    for table in ["accounts", "accounts_requests", "accounts_schema"] {
        assert_eq!(shared.places(table).await, ["pyroxene_accounts"]);
    }

    let shared = Shared::new().await;
    let other = "CREATE TABLE accounts (owner text); CREATE TABLE accounts_schema (place text)";
    shared.sql_as(&shared.teller, other).await;
    let bank = shared.open().await;
    bank.open("ana", "1").await.unwrap();
    let places = shared.places("accounts").await;
    assert_eq!(places, ["public", "pyroxene_accounts"]);
}
