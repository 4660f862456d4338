// Small arithmetic on the series of `/v1/stats`: means over the last steps, the newest value, differences. An
// item is null where nothing was measured; such items count for nothing here.

/** The newest value of a series that was measured, or null. */
export function newest(series) {
  for (let index = (series?.length || 0) - 1; index >= 0 && index >= series.length - 3; index -= 1) {
    if (series[index] !== null && series[index] !== undefined) return series[index];
  }
  return null;
}

/** The mean of the last `steps` values, or null. */
export function mean(series, steps = series?.length) {
  const values = (series || []).slice(-steps).filter((value) => value !== null && value !== undefined);
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The greatest of the last `steps` values, or null. */
export function greatest(series, steps = series?.length) {
  const values = (series || []).slice(-steps).filter((value) => value !== null && value !== undefined);
  return values.length === 0 ? null : values.reduce((most, value) => Math.max(most, value), -Infinity);
}

/** The mean of a latency weighed by the calls of each step: what a caller met. */
export function weighed(latencies, calls, steps) {
  let sum = 0;
  let weight = 0;
  const from = Math.max(0, (latencies?.length || 0) - steps);
  for (let index = from; index < (latencies?.length || 0); index += 1) {
    const count = calls?.[index] || 0;
    if (latencies[index] === null || latencies[index] === undefined || count === 0) continue;
    sum += latencies[index] * count;
    weight += count;
  }
  return weight === 0 ? null : sum / weight;
}

/** Steps of a minute. */
export function minute(stats) {
  return Math.max(1, Math.round(60 / (stats?.step_s || 2)));
}

/** The last minute of one object or worker: calls and errors per second, latencies, share of errors. */
export function lastMinute(stats, series) {
  const steps = minute(stats);
  const calls = mean(series?.calls, steps);
  const errors = mean(series?.errors, steps);
  return {
    calls,
    errors,
    share: calls ? (errors || 0) / calls : 0,
    p50: weighed(series?.p50_ms, series?.calls, steps),
    p99: weighed(series?.p99_ms, series?.calls, steps),
    in_flight: newest(series?.in_flight),
    queue: newest(series?.queue),
  };
}

/** By how much a series has grown from its first measured value to its newest. */
export function growth(series) {
  const values = (series || []).filter((value) => value !== null && value !== undefined);
  return values.length < 2 ? 0 : values.at(-1) - values[0];
}
