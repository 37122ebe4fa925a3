// The `lighter` command: prepares the process, then loads the program.
import { enableCompileCache } from "node:module";
import { setFlagsFromString } from "node:v8";

// Streaming hundreds of megabytes makes V8 grow its young generation for garbage that dies at once; kept at its first
// size, the peak memory of a rebase is a third lower at the same speed. The old generation is small beside the buffers
// that count towards its limit, so without room to grow it would be collected some twenty times in vain.
setFlagsFromString("--semi-space-growth-factor=1");
setFlagsFromString("--heap-growing-percent=300");
enableCompileCache();

const { runProgram } = await import("./program.ts");
await runProgram(process.argv);
