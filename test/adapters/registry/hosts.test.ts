// What a host name decides: scheme, address, adapter, audience.
import { expect, test } from "vitest";
import { acrAudience, baseUrl, chooseKind, isPrivate } from "../../../src/adapters/registry/hosts.ts";

test.each([
  ["docker.io", "https://registry-1.docker.io/"],
  ["index.docker.io", "https://registry-1.docker.io/"],
  ["fleet.azurecr.io", "https://fleet.azurecr.io/"],
  ["registry.example.com:5000", "https://registry.example.com:5000/"],
  ["localhost", "http://localhost/"],
  ["localhost:5000", "http://localhost:5000/"],
  ["127.0.0.1:5000", "http://127.0.0.1:5000/"],
  ["[::1]:5000", "http://[::1]:5000/"],
  ["localhost.example.com", "https://localhost.example.com/"],
  ["127.0.0.1.example.com:80", "https://127.0.0.1.example.com:80/"],
])("%s is at %s", (registry, url) => {
  expect(baseUrl(registry).href).toBe(url);
});

test("secrets go over TLS or to this machine", () => {
  expect(["https://a.example", "http://127.0.0.1:9", "http://[::1]:9"].map((url) => isPrivate(new URL(url)))).toEqual([
    true,
    true,
    true,
  ]);
  expect(isPrivate(new URL("http://a.example"))).toBe(false);
});

test.each([
  ["fleet.azurecr.io", false, "acr"],
  ["Fleet.AzureCR.cn:443", false, "acr"],
  ["fleet.azurecr.io", true, "oci"],
  ["fleet.azurecr.io.example.com", false, "oci"],
  ["ghcr.io", false, "oci"],
])("%s, docker credentials %s, is spoken to as %s", (registry, hasDockerCredentials, kind) => {
  expect(chooseKind(registry, hasDockerCredentials)).toBe(kind);
});

test("each cloud has its audience", () => {
  expect(acrAudience("fleet.azurecr.io")).toBe("https://containerregistry.azure.net");
  expect(acrAudience("fleet.azurecr.cn")).toBe("https://management.chinacloudapi.cn");
  expect(acrAudience("fleet.azurecr.us")).toBe("https://management.usgovcloudapi.net");
  expect(acrAudience("127.0.0.1:5000")).toBe("https://containerregistry.azure.net");
});
