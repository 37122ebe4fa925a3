// Parsers of option values: what is no number, or out of range, is refused before anything starts.
import { InvalidArgumentError } from "commander";

/** A parser of whole numbers between `from` and `to`. */
export function wholeNumber(from: number, to: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (/^\d+$/.test(text) && number >= from && number <= to) return number;
    const range = to === Number.MAX_SAFE_INTEGER ? `from ${from}` : `from ${from} to ${to}`;
    throw new InvalidArgumentError(`Want a whole number ${range}.`);
  };
}

/** A parser of numbers above zero. */
export function positiveNumber(text: string): number {
  const number = Number(text);
  if (text.trim() !== "" && Number.isFinite(number) && number > 0) return number;
  throw new InvalidArgumentError("Want a number above 0.");
}
