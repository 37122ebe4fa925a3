// The query language's tree: what a parsed query says.
import type { Expression } from "./expression.ts";

/** The collections that can be asked. */
export type QuerySource = "devices" | "devices.modules" | "devices.jobs";

/** What can be computed of a group; only COUNT goes without a property. */
export type AggregateName = "COUNT" | "SUM" | "MIN" | "MAX" | "AVG";

/** One column of a SELECT list; `as` is the name in the result. */
export type Column =
  | { readonly kind: "path"; readonly path: readonly string[]; readonly as: string }
  | {
      readonly kind: "aggregate";
      readonly name: AggregateName;
      readonly path: readonly string[] | undefined;
      readonly as: string;
    };

/** A parsed query. */
export interface Query {
  /** `*`, or the columns. */
  readonly columns: "*" | readonly Column[];
  readonly top: number | undefined;
  readonly source: QuerySource;
  readonly where: Expression | undefined;
  /** The paths of GROUP BY; rows are aggregated when there are any, or when a column is an aggregate. */
  readonly groupBy: readonly (readonly string[])[];
}

/** Whether the query yields one row per group instead of one per twin. */
export function isAggregated(query: Query): boolean {
  return query.groupBy.length > 0 || (query.columns !== "*" && query.columns.some(({ kind }) => kind === "aggregate"));
}
