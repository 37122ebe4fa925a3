// Lists a repository's tags, following the registry's pages.
import { fail } from "./failure.ts";
import { resolveUrl } from "./hosts.ts";
import type { RepositoryNames } from "./names.ts";
import type { Session } from "./session.ts";

const PAGE_SIZE = 1_000;
const MAX_PAGE_BYTES = 4 * 1024 * 1024;

/** The tags of a repository, page by page (OCI distribution-spec, "Listing tags"; pages by RFC 8288 Link headers). */
export async function* listTags(session: Session, names: RepositoryNames): AsyncGenerator<string> {
  const operation = names.describe("list tags of", "", "NAME_UNKNOWN");
  const seen = new Set<string>();
  let next: string | undefined = names.path(`tags/list?n=${PAGE_SIZE}`);
  while (next !== undefined) {
    seen.add(next);
    const request = { operation, method: "GET", path: next, scopes: names.scopes("pull"), expect: [200] } as const;
    const { response, bytes } = await session.requestBytes(request, MAX_PAGE_BYTES);
    const tags = parseTags(bytes?.toString());
    if (tags === undefined) {
      throw fail("UNEXPECTED_RESPONSE", operation, {
        got: "a page that is not a list of tags",
        want: "JSON with tags",
      });
    }
    // Pages are in order by the spec, but docker-registry 2.8 sends everything as one page in no order.
    yield* tags.sort();
    next = nextPage(response.headers.link, response.url);
    if (next !== undefined && seen.has(next)) {
      throw fail("UNEXPECTED_RESPONSE", operation, { got: `page ${next} again`, want: "the next page" });
    }
  }
}

function parseTags(text: string | undefined): string[] | undefined {
  try {
    const { tags } = JSON.parse(text ?? "") as { tags?: unknown };
    // A repository whose last tag was deleted has "tags": null.
    if (tags === null || tags === undefined) return [];
    return Array.isArray(tags) && tags.every((tag) => typeof tag === "string") ? tags : undefined;
  } catch {
    return undefined;
  }
}

/** The path of the next page; only its path counts, as registries behind proxies name other hosts. */
function nextPage(link: string | string[] | undefined, page: URL): string | undefined {
  const target = /<([^>]*)>\s*;[^,]*\brel="?next"?/i.exec(String(link ?? ""))?.[1];
  const next = target === undefined ? undefined : resolveUrl(target, page);
  return next === undefined ? undefined : next.pathname + next.search;
}
