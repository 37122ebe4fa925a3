// App settings: environment variables set before the app loads, and `%name%` in binding properties.
import { FunctionsHostError } from "./errors.ts";

/** The app's settings by name. */
export type Settings = Readonly<Record<string, string>>;

/** Replaces a `%name%` wherever it stands, as the host does for schedules and resource names. */
export function resolveSetting(value: string, settings: Settings, subject: string): string {
  return value.replaceAll(/%([^%]+)%/g, (_, name: string) => {
    const found = settings[name] ?? process.env[name];
    if (found === undefined) {
      throw new FunctionsHostError("MISSING_SETTING", {
        operation: "resolve",
        subject,
        got: `%${name}%`,
        want: "a setting",
      });
    }
    return found;
  });
}
