// The token endpoints of Azure's registry: Entra token to refresh token, refresh token or password to access token.
import type { Auth, Principal } from "./auth.ts";
import { type Call, readBody, refuseMethod } from "./call.ts";
import { parseScopes } from "./grants.ts";
import { refuse } from "./refusal.ts";
import { type Reply, replyJson } from "./reply.ts";

const MAX_FORM_BYTES = 64 * 1024;

async function readForm(call: Call): Promise<URLSearchParams> {
  return new URLSearchParams((await readBody(call.request, MAX_FORM_BYTES)).toString());
}

function checkService(service: string, got: string | null): void {
  if (got === null || got === service) return;
  refuse("UNAUTHORIZED", { operation: "issue token", subject: "service", got, want: service });
}

function required(principal: Principal | undefined, subject: string): Principal {
  return principal ?? refuse("UNAUTHORIZED", { operation: "issue token", subject, want: "valid credentials" });
}

/** `POST /oauth2/exchange`: grant_type `access_token`, `service`, `access_token` → `{refresh_token}`. */
export async function exchangeToken(call: Call, auth: Auth, service: string): Promise<Reply> {
  if (call.method !== "POST") refuseMethod(call, "POST");
  const form = await readForm(call);
  const grant = form.get("grant_type") ?? "";
  if (!["access_token", "access_token_refresh_token", "refresh_token"].includes(grant)) {
    refuse("UNSUPPORTED", { operation: "exchange token", subject: "grant_type", got: grant, status: 400 });
  }
  checkService(service, form.get("service"));
  const principal =
    grant === "refresh_token"
      ? auth.readRefreshToken(form.get("refresh_token") ?? "")
      : auth.findIdentity(form.get("access_token") ?? "");
  return replyJson({ refresh_token: auth.issueRefreshToken(required(principal, "Entra access token")) });
}

/**
 * `GET|POST /oauth2/token`: Basic, password or refresh token → `{access_token}` for the scopes that are allowed.
 *
 * A password grant without user name asks for what anybody may do, as the SDK does without a credential.
 */
export async function issueToken(call: Call, auth: Auth, service: string): Promise<Reply> {
  if (call.method === "GET") {
    checkService(service, call.query.get("service"));
    const principal = call.who === "unknown" ? undefined : (call.who ?? auth.anonymous);
    return reply(required(principal, "Basic credentials"), call.query);
  }
  if (call.method !== "POST") refuseMethod(call, "GET", "POST");
  const form = await readForm(call);
  checkService(service, form.get("service"));
  const grant = form.get("grant_type") ?? "";
  if (grant === "refresh_token") {
    return reply(required(auth.readRefreshToken(form.get("refresh_token") ?? ""), "refresh token"), form);
  }
  if (grant !== "password") {
    refuse("UNSUPPORTED", { operation: "issue token", subject: "grant_type", got: grant, status: 400 });
  }
  const user = form.get("username") ?? "";
  if (user === "") return reply(required(auth.anonymous, "anonymous"), form);
  const principal = required(auth.findUser(user, form.get("password") ?? ""), user);
  const refresh = form.get("access_type") === "offline" ? { refresh_token: auth.issueRefreshToken(principal) } : {};
  return reply(principal, form, refresh);

  function reply(principal: Principal, asked: URLSearchParams, more: Record<string, string> = {}): Reply {
    const scopes = asked.getAll("scope").flatMap(parseScopes);
    return replyJson({ access_token: auth.issueAccessToken(principal, scopes), ...more });
  }
}
