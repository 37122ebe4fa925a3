// The app's functions as the host sees them, and the check that every binding is one the host offers.
import type { Binding, CoreApi, FunctionCallback, FunctionMetadata } from "./core-api.ts";
import { FunctionsHostError } from "./errors.ts";

/** A binding with the name that the library gave it (usually a hash). */
interface NamedBinding extends Binding {
  readonly name: string;
}

/** A registered function, its bindings sorted by role. */
export interface LoadedFunction {
  readonly name: string;
  readonly metadata: FunctionMetadata;
  readonly callback: FunctionCallback;
  readonly trigger: NamedBinding;
  readonly inputs: readonly NamedBinding[];
  /** Extra outputs; the return binding `$return` is included when the app set one. */
  readonly outputs: readonly NamedBinding[];
}

/** The binding types on offer, lower case. */
export interface OfferedBindings {
  readonly triggers: ReadonlySet<string>;
  readonly inputs: ReadonlySet<string>;
  readonly outputs: ReadonlySet<string>;
}

/** Sorts the registered functions' bindings; throws UNSUPPORTED_BINDING naming function and binding. */
export function listFunctions(core: CoreApi, offered: OfferedBindings): LoadedFunction[] {
  return [...core.functions.values()].map(({ metadata, callback }) => {
    const bindings = Object.entries(metadata.bindings).map(([name, binding]): NamedBinding => ({ ...binding, name }));
    const trigger = bindings.find(({ type }) => /trigger$/i.test(type));
    if (trigger === undefined) throw unsupported(metadata.name, "no trigger", "one trigger binding");
    require(metadata.name, trigger, offered.triggers, "trigger");
    const inputs = bindings.filter((binding) => binding !== trigger && binding.direction === "in");
    const outputs = bindings.filter((binding) => binding.direction === "out");
    for (const input of inputs) require(metadata.name, input, offered.inputs, "input");
    for (const output of outputs) require(metadata.name, output, offered.outputs, "output");
    return { name: metadata.name, metadata, callback, trigger, inputs, outputs };
  });
}

function require(functionName: string, binding: NamedBinding, offered: ReadonlySet<string>, role: string): void {
  if (offered.has(binding.type.toLowerCase())) return;
  throw unsupported(functionName, `${role} binding ${binding.type}`, [...offered].sort().join(" | "));
}

function unsupported(functionName: string, got: string, want: string): FunctionsHostError {
  return new FunctionsHostError("UNSUPPORTED_BINDING", {
    operation: "load function",
    subject: functionName,
    got,
    want,
  });
}
