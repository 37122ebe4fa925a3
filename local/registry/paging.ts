// Paging of lists by `n` and `last` with a relative Link to the next page (OCI distribution-spec 1.1, "Listing Tags").
import type { PageRequest } from "./catalog.ts";
import { refuse } from "./refusal.ts";

/** Items per page when the client does not say, and the most it gets: as Azure's registry does. */
const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

/** Reads `n`, `last` and ACR's `orderby`; refuses a bad `n` with PAGINATION_NUMBER_INVALID. */
function readPage(query: URLSearchParams): PageRequest {
  const text = query.get("n");
  if (text !== null && !/^\d{1,9}$/.test(text)) {
    refuse("PAGINATION_NUMBER_INVALID", { operation: "list", subject: "page", got: `n=${text}`, want: "a number" });
  }
  const order = query.get("orderby")?.toLowerCase();
  return {
    limit: text === null ? DEFAULT_PAGE : Math.min(Number(text), MAX_PAGE),
    last: query.get("last") ?? "",
    ...(order === "timeasc" || order === "timedesc" ? { order } : {}),
  };
}

/** One page of a list, and the header that leads to the next one, if any. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Takes one page out of `list`, which is asked for one item more than needed to see whether another page follows.
 *
 * The Link is `</path?…>; rel="next"` with the query carried over.
 */
export function takePage<T>(
  path: string,
  query: URLSearchParams,
  list: (page: PageRequest) => readonly T[],
  keyOf: (item: T) => string,
): Page<T> {
  const page = readPage(query);
  const found = list({ ...page, limit: page.limit + 1 });
  const items = found.slice(0, page.limit);
  const last = items.at(-1);
  if (found.length <= page.limit || last === undefined) return { items, headers: {} };
  const next = new URLSearchParams(query);
  next.set("n", String(page.limit));
  next.set("last", keyOf(last));
  return { items, headers: { Link: `<${path}?${next.toString()}>; rel="next"` } };
}
