// An app with a trigger and an output that the host only knows through its options.
import { app, output } from "@azure/functions";
import type { InvocationContext } from "@azure/functions";

const queue = output.generic({ type: "memoryQueue", queueName: "out" });

app.generic("consumer", {
  trigger: { type: "memoryQueueTrigger", name: "message", queueName: "in" },
  extraOutputs: [queue],
  return: output.generic({ type: "memoryQueue", queueName: "returned" }),
  handler: (message: unknown, context: InvocationContext) => {
    if (message === "fail") throw new Error("cannot");
    context.extraOutputs.set(queue, { message, attempt: context.retryContext?.retryCount ?? 0 });
    return `${context.triggerMetadata?.["deliveryCount"] as number}`;
  },
});
