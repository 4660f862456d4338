//! Consistency checks of a store.

use super::sql::{SqlConnection, SqlResult};

/// Contradictions that must not occur: a description, and the statement that counts the cases.
const CONSISTENCY_CHECKS: [(&str, &str); 13] = [
    (
        "tasks without arguments",
        "SELECT count(*) FROM tasks t WHERE arguments IS NULL AND NOT EXISTS \
         (SELECT 1 FROM bodies b WHERE b.task = t.id AND b.kind = 0)",
    ),
    (
        "running tasks without an owner or a beginning",
        "SELECT count(*) FROM tasks WHERE state = 2 AND (owner IS NULL OR started IS NULL)",
    ),
    (
        "ended tasks without a time or an outcome",
        "SELECT count(*) FROM tasks WHERE state > 2 AND (ended IS NULL OR outcome IS NULL)",
    ),
    (
        "bodies without a task",
        "SELECT count(*) FROM bodies b WHERE NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id = b.task)",
    ),
    (
        "attempts without a task",
        "SELECT count(*) FROM attempts a WHERE NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id = a.task)",
    ),
    (
        "topics whose entries are not those from the first to the head",
        "SELECT count(*) FROM topics t WHERE head - first + 1 <> (SELECT count(*) FROM entries e \
         WHERE e.topic = t.id AND e.sequence BETWEEN t.first AND t.head)",
    ),
    (
        "topics whose size is not that of their entries",
        "SELECT count(*) FROM topics t WHERE bytes <> \
         (SELECT coalesce(sum(size), 0) FROM entries e WHERE e.topic = t.id)",
    ),
    (
        "leases with a fence that was never given",
        "SELECT count(*) FROM leases WHERE fence > (SELECT value FROM counters WHERE name = 'fences')",
    ),
    (
        "exclusive names with a fence that was never given",
        "SELECT count(*) FROM exclusive_names WHERE fence > \
         (SELECT value FROM counters WHERE name = 'exclusive_names')",
    ),
    (
        "exclusive names with two holders or fences",
        "SELECT count(*) FROM (SELECT name FROM exclusive_names GROUP BY name \
         HAVING min(holder) <> max(holder) OR min(fence) <> max(fence)) AS torn",
    ),
    (
        "submitters whose tasks are not as many or as large as is said",
        "SELECT count(*) FROM (SELECT submitter FROM \
         (SELECT submitter, tasks, bytes FROM task_usage WHERE submitter <> '*' \
         UNION ALL SELECT submitter, CASE WHEN state < 3 THEN -1 ELSE 0 END, \
         -(300 + coalesce(length(arguments), 0) + coalesce(length(trace), 0) + coalesce(length(result), 0) \
         + coalesce((SELECT sum(length(body)) FROM bodies b WHERE b.task = t.id), 0)) \
         FROM tasks t) AS summed GROUP BY submitter \
         HAVING sum(tasks) <> 0 OR sum(bytes) <> 0) AS torn",
    ),
    (
        "batches whose tasks are not as many as is said",
        "SELECT count(*) FROM (SELECT batch FROM \
         (SELECT batch, total - succeeded - failed - cancelled AS open, kept FROM batch_counts \
         UNION ALL SELECT batch, CASE WHEN state < 3 THEN -1 ELSE 0 END, -1 FROM tasks \
         WHERE batch IS NOT NULL) AS summed GROUP BY batch HAVING sum(open) <> 0 OR sum(kept) <> 0) AS torn",
    ),
    (
        "sums of the tasks of all submitters that are not those of each",
        "SELECT count(*) FROM (SELECT coalesce(sum(CASE WHEN submitter = '*' THEN tasks ELSE -tasks END), 0) AS tasks, \
         coalesce(sum(CASE WHEN submitter = '*' THEN bytes ELSE -bytes END), 0) AS bytes \
         FROM task_usage) AS summed WHERE tasks <> 0 OR bytes <> 0",
    ),
];

/// All problems, one message each. For SQLite they include damage of the file.
pub(super) async fn check(sql: &mut SqlConnection<'_>) -> SqlResult<Vec<String>> {
    let mut problems = Vec::new();
    if let SqlConnection::Sqlite(_) = sql {
        for row in sql.rows("PRAGMA integrity_check(20)", &[]).await? {
            let found = row.text(0)?;
            if found != "ok" {
                problems.push(found);
            }
        }
    }
    for (what, count) in CONSISTENCY_CHECKS {
        let row = sql.row(count, &[]).await?;
        let count = row.map(|row| row.int(0)).transpose()?.unwrap_or(0);
        if count != 0 {
            problems.push(format!("{count} {what}"));
        }
    }
    Ok(problems)
}
