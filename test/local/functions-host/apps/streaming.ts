// An app with HTTP streaming switched on.
import { app } from "@azure/functions";

app.setup({ enableHttpStream: true });

app.http("echo", {
  route: "echo/{name}",
  methods: ["POST"],
  handler: async (request) => {
    const chunks: string[] = [];
    for await (const chunk of request.body ?? []) chunks.push(Buffer.from(chunk as Uint8Array).toString());
    return {
      headers: { "x-name": request.params["name"] ?? "", "x-sent": request.headers.get("x-sent") ?? "" },
      body: chunks.join(""),
    };
  },
});

app.http("drip", {
  handler: () => ({
    headers: { "content-type": "text/plain" },
    body: new ReadableStream({
      async start(controller) {
        for (const part of ["first ", "second ", "third"]) {
          controller.enqueue(Buffer.from(part));
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        controller.close();
      },
    }) as never,
  }),
});

app.http("failing", {
  handler: () => {
    throw new Error("secret detail");
  },
});
