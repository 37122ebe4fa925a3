// Fills the template values of a task: `{{.Run.ID}}`, `{{.Values.name}}` and the `$Registry` aliases.
import { RunError } from "./run-error.ts";

/** What a template can ask for. */
export interface TemplateData {
  /** `ID`, `Registry`, `RegistryName`, `Date`, `OS`, `Architecture`, `TaskName`, … */
  readonly run: Readonly<Record<string, string>>;
  readonly values: Readonly<Record<string, string>>;
}

const ACTION = /\{\{-?\s*([^{}]*?)\s*-?\}\}/g;
const FIELD = /^\.(Run|Values)\.([A-Za-z_]\w*)$/;
const ALIAS = /\$(\$|(?:ID|SharedVolume|RegistryName|Registry|Date|OS|Architecture|TaskName)(?![A-Za-z0-9]))/g;

/**
 * Fills `text`. As in ACR Tasks the text is filled before it is read as YAML, so that a value can become syntax, and an
 * unknown field becomes nothing; functions and control structures of Go templates are refused.
 * @throws RunError TEMPLATE_INVALID
 */
export function fillTemplate(text: string, { run, values }: TemplateData): string {
  const look = (from: Readonly<Record<string, string>>, name: string): string =>
    Object.hasOwn(from, name) ? (from[name] as string) : "";
  const filled = text.replaceAll(ACTION, (_action, inner: string) => {
    const [, area, name] = FIELD.exec(inner) ?? [];
    if (area === undefined || name === undefined) {
      throw new RunError("TEMPLATE_INVALID", {
        operation: "fill template",
        subject: `{{${inner.slice(0, 80)}}}`,
        want: "{{.Run.name}} or {{.Values.name}}",
      });
    }
    return look(area === "Run" ? run : values, name);
  });
  return filled.replaceAll(ALIAS, (_alias, name: string) => (name === "$" ? "$" : look(run, name)));
}
