// Carries out `callHttp` requests on behalf of orchestrators.

/** Performs a request `{method, uri, headers, content}` given as JSON text; returns `{statusCode, headers, content}`. */
export async function callHttp(request: string): Promise<string> {
  const { method, uri, headers, content } = JSON.parse(request) as {
    method: string;
    uri: string;
    headers?: Record<string, string>;
    content?: string;
  };
  // Polling a 202 is the orchestrator's business, a redirect is not.
  const response = await fetch(uri, {
    method,
    ...(headers && { headers }),
    ...(content !== undefined && { body: content }),
    redirect: "manual",
  });
  return JSON.stringify({
    statusCode: response.status,
    headers: Object.fromEntries(response.headers),
    content: await response.text(),
  });
}
