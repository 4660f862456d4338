// Calls a broker by a client that is generated from its description.

import createClient from "openapi-fetch";
import type { components, paths } from "./broker.ts";

function check(fact: boolean, seen: unknown): asserts fact {
  if (!fact) throw new Error(JSON.stringify(seen));
}

declare const process: { argv: string[] };
const client = createClient<paths>({ baseUrl: process.argv[2] ?? "" });

const named = await client.POST("/v1/objects/calculator/factorial", { body: { n: 30 } });
const product: string | undefined = named.data;
check(product === "265252859812191058636308480000000", named);

const inOrder = await client.POST("/v1/objects/calculator/sum", {
  body: [[1, 2, 3.5]],
  params: { query: { timeout: "5s", policy: "round-robin" } },
});
const sum: number | null | undefined = inOrder.data;
check(sum === 6.5, inOrder);
check(inOrder.response.headers.get("pyroxene-worker") !== null, inOrder);

const failed = await client.POST("/v1/objects/calculator/max", { body: { values: [] } });
const problem: components["schemas"]["Problem"] | undefined = failed.error;
check(failed.response.status === 422 && problem?.status === 422, problem);

const listed = await client.GET("/v1/objects", { params: { query: { prefix: "calc" } } });
const calculator = listed.data?.[0];
check(calculator?.name === "calculator" && calculator.instances[0]?.state === "ready", listed);

const submitted = await client.POST("/v1/tasks", {
  body: { object: "calculator", method: "factorial", args: { n: 5 } },
});
check(submitted.data !== undefined && "id" in submitted.data, submitted);
const task = await client.GET("/v1/tasks/{id}", {
  params: { path: { id: submitted.data.id }, query: { wait: "20s" } },
});
check(task.data?.state === "succeeded" && task.data.result === "120", task);

const nothing = await client.GET("/v1/tasks/{id}", { params: { path: { id: "x" } } });
check(nothing.data === undefined && nothing.error.status === 404, nothing);

// @ts-expect-error: a method that no object has.
await client.POST("/v1/objects/calculator/guess", { body: {} });

console.log("the generated client called everything");
