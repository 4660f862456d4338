-- Objects through which other roles could act with the rights of a role that works in schema $1: what was
-- found, and the statement that removes the danger. $2 are the trusted roles. $3 are the tables to check; if
-- it is NULL, all tables and the schema itself are checked.
WITH place AS (
    SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = $1
), relation AS (
    SELECT class.oid, relkind, relname, relowner, relacl, nspname,
        CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
            WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS word
    FROM pg_class AS class JOIN place ON relnamespace = place.oid
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND ($3::text[] IS NULL OR relname::text = ANY($3))
), granted AS (
    SELECT 2 AS number, grantee, format('make things in schema %I', nspname) AS deed,
        format('CREATE ON SCHEMA %I', nspname) AS privilege
    FROM place, aclexplode(nspacl)
    WHERE privilege_type = 'CREATE' AND grantee <> nspowner AND $3::text[] IS NULL
    UNION ALL
    SELECT 6, grantee, format('put triggers on table %I.%I', nspname, relname),
        format('TRIGGER ON %I.%I', nspname, relname)
    FROM relation, aclexplode(relacl)
    WHERE privilege_type = 'TRIGGER' AND grantee <> relowner
), danger (number, found, mended) AS (
    SELECT 1, format('schema %I belongs to role %I, and this is role %I', nspname,
            pg_get_userbyid(nspowner), current_user),
        format('ALTER SCHEMA %I OWNER TO %I', nspname, current_user)
    FROM place WHERE nspowner <> ALL($2) AND $3::text[] IS NULL
    UNION ALL
    SELECT number,
        format('%s may %s', CASE grantee WHEN 0 THEN 'everybody'
            ELSE format('role %I', pg_get_userbyid(grantee)) END, deed),
        format('REVOKE %s FROM %s', privilege, CASE grantee WHEN 0 THEN 'PUBLIC'
            ELSE quote_ident(pg_get_userbyid(grantee)) END)
    FROM granted
    WHERE grantee NOT IN (SELECT oid FROM pg_roles WHERE rolsuper OR oid = ANY($2))
    UNION ALL
    SELECT 3, format('%s %I.%I belongs to role %I, and this is role %I', lower(word), nspname, relname,
            pg_get_userbyid(relowner), current_user),
        format('ALTER %s %I.%I OWNER TO %I', word, nspname, relname, current_user)
    FROM relation WHERE relowner <> ALL($2)
    UNION ALL
    SELECT 4, format('trigger %I on table %I.%I is none of this program''s', tgname, nspname, relname),
        format('DROP TRIGGER %I ON %I.%I', tgname, nspname, relname)
    FROM pg_trigger JOIN relation ON tgrelid = relation.oid WHERE NOT tgisinternal
    UNION ALL
    SELECT 5, format('rule %I on table %I.%I is none of this program''s', rulename, nspname, relname),
        format('DROP RULE %I ON %I.%I', rulename, nspname, relname)
    FROM pg_rewrite JOIN relation ON ev_class = relation.oid WHERE rulename <> '_RETURN'
    UNION ALL
    SELECT 7, format('function %I.%I(%s) belongs to role %I', nspname, proname,
            pg_get_function_identity_arguments(routine.oid), pg_get_userbyid(proowner)),
        format('DROP ROUTINE %I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(routine.oid))
    FROM pg_proc AS routine JOIN place ON pronamespace = place.oid
    WHERE proowner <> ALL($2) AND $3::text[] IS NULL
    UNION ALL
    SELECT 8, format('operator %I.%s belongs to role %I', nspname, oprname, pg_get_userbyid(oprowner)),
        format('DROP OPERATOR %I.%s (%s, %s)', nspname, oprname,
            CASE oprleft WHEN 0 THEN 'NONE' ELSE format_type(oprleft, NULL) END,
            CASE oprright WHEN 0 THEN 'NONE' ELSE format_type(oprright, NULL) END)
    FROM pg_operator JOIN place ON oprnamespace = place.oid
    WHERE oprowner <> ALL($2) AND $3::text[] IS NULL
)
SELECT found, mended FROM danger ORDER BY number, found
