// Sends each routed request to the handler of its target.
import { type Call, refuseMethod } from "./call.ts";
import {
  type AcrParts,
  handleAcrManifest,
  handleAcrRepository,
  handleAcrTag,
  listAcrManifests,
  listAcrTags,
} from "./handle-acr.ts";
import { type BlobParts, handleBlob } from "./handle-blobs.ts";
import { handleManifest, listReferrers, listRepositories, listTags } from "./handle-manifests.ts";
import { continueUpload, startUpload, type UploadParts } from "./handle-uploads.ts";
import { exchangeToken, issueToken } from "./handle-tokens.ts";
import { type Reply, replyJson } from "./reply.ts";
import type { Target } from "./routes.ts";

/** Everything that handlers work on. */
export interface Parts extends AcrParts, BlobParts, UploadParts {}

/** Handles one request whose path, permission and limits have been checked. */
export async function dispatch(call: Call, target: Target, parts: Parts): Promise<Reply> {
  switch (target.kind) {
    case "base":
      return call.method === "GET" || call.method === "HEAD" ? replyJson({}) : refuseMethod(call, "GET");
    case "exchange":
      return await exchangeToken(call, parts.auth, parts.service);
    case "token":
      return await issueToken(call, parts.auth, parts.service);
    case "catalog":
    case "acr-catalog":
      return listRepositories(call, parts);
    case "tags":
      return listTags(call, parts, target.name);
    case "manifest":
      return await handleManifest(call, parts, target.name, target.reference);
    case "referrers":
      return listReferrers(call, parts, target.name, target.digest);
    case "blob":
      return handleBlob(call, parts, target.name, target.digest);
    case "uploads":
      return await startUpload(call, parts, target.name);
    case "upload":
      return await continueUpload(call, parts, target.name, target.id);
    case "acr-repository":
      return await handleAcrRepository(call, parts, target.name);
    case "acr-tags":
      return listAcrTags(call, parts, target.name);
    case "acr-tag":
      return await handleAcrTag(call, parts, target.name, target.tag);
    case "acr-manifests":
      return listAcrManifests(call, parts, target.name);
    default:
      return await handleAcrManifest(call, parts, target.name, target.digest);
  }
}
